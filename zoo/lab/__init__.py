"""The lab: tasks that tell mixers apart, fair comparisons, what mixers cost, and what trained models do."""
