"""A local page on a run: live progress, steering, the items with all votes. Starlette and uvicorn, the extra `web`."""
