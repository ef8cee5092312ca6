"""Both lines inside other servers."""
