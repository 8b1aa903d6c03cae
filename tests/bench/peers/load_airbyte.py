"""Loads all offers with PyAirbyte: a declarative source, and PostgreSQL as its cache."""

from urllib.parse import urlsplit

import airbyte
from airbyte.caches import PostgresCache
from offers import PAGE, STREAM, schema, setting

MANIFEST = {
    "version": "6.0.0",
    "type": "DeclarativeSource",
    "check": {"type": "CheckStream", "stream_names": [STREAM]},
    "streams": [
        {
            "type": "DeclarativeStream",
            "name": STREAM,
            "primary_key": ["id"],
            "schema_loader": {"type": "InlineSchemaLoader", "schema": schema()},
            "retriever": {
                "type": "SimpleRetriever",
                "requester": {
                    "type": "HttpRequester",
                    "url_base": setting("URL") + "/",
                    "path": "product_offer/read",
                    "http_method": "POST",
                    "authenticator": {
                        "type": "BasicHttpAuthenticator",
                        "username": setting("USER"),
                        "password": setting("PASSWORD"),
                    },
                },
                "record_selector": {
                    "type": "RecordSelector",
                    "extractor": {"type": "DpathExtractor", "field_path": ["results"]},
                },
                "paginator": {
                    "type": "DefaultPaginator",
                    "page_size_option": {
                        "type": "RequestOption",
                        "inject_into": "body_json",
                        "field_name": "itemsPerPage",
                    },
                    "page_token_option": {
                        "type": "RequestOption",
                        "inject_into": "body_json",
                        "field_name": "currentPage",
                    },
                    "pagination_strategy": {
                        "type": "PageIncrement",
                        "page_size": PAGE,
                        "start_from_page": 1,
                        "inject_on_first_request": True,
                    },
                },
            },
        }
    ],
    "spec": {
        "type": "Spec",
        "connection_specification": {"type": "object", "properties": {}, "additionalProperties": True},
    },
}

database = urlsplit(setting("DSN"))
cache = PostgresCache(
    host=database.hostname or "127.0.0.1",
    port=database.port or 5432,
    username=database.username or "",
    password=database.password or "",
    database=database.path.removeprefix("/"),
    schema_name="bench",
    cache_dir=setting("STATE"),
)
source = airbyte.get_source("source-offers", config={}, source_manifest=MANIFEST, streams=[STREAM])
source.read(cache=cache, write_strategy="merge", force_full_refresh=True)
