public import ArgumentParser
public import LatheModel

extension Activations: ExpressibleByArgument {}
