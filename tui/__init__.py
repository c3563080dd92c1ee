"""What people see: the command line, headless progress and the cockpit."""
