"""Ready-made engines that a node can run, from free software that a package manager installs."""
