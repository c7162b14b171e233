public import ArgumentParser
public import LatheModel

extension CacheType: ExpressibleByArgument {}
