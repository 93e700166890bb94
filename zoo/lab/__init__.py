"""The lab: tasks, fair comparisons, benchmarks, and looking inside."""
