"""What people touch: the command line, the service, the pages."""
