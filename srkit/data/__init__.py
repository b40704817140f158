"""From pictures to batches: pairs made whole, packed once, patches cut by step number."""
