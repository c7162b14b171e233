internal import LatheTensor
