"""Search quality of the strategies, compared with other libraries."""
