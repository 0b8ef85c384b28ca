"""What several test modules share: servers, stand-ins, and ways to look at what landed without the package's help."""
