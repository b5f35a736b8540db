"""Reports people open: pages that stand alone, with their pictures and tables inside."""
