"""Search quality of the strategies beside other libraries."""
