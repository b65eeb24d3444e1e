"""The HTTP contract as an OpenAPI document: what each route takes and answers. Does no I/O."""
