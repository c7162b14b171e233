public import ArgumentParser
public import LatheModel

extension CacheType: ExpressibleByArgument {}
extension Activations: ExpressibleByArgument {}
