"""What the command line does, as functions of Python that return objects: `zoo.train`, `check`, `compare`, `bench`."""
