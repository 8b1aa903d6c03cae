"""Loads all offers with dlt: merged by their id, what is nested kept as JSON."""

import dlt
from offers import NESTED, STREAM, pages, setting

offers = dlt.resource(
    pages,
    name=STREAM,
    write_disposition="merge",
    primary_key="id",
    max_table_nesting=0,
    columns={name: {"data_type": "json"} for name in NESTED},
)
pipeline = dlt.pipeline(
    "bench",
    destination=dlt.destinations.postgres(setting("DSN")),
    dataset_name="bench",
    pipelines_dir=setting("STATE"),
)
pipeline.run(offers())
