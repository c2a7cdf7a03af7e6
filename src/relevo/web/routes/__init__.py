"""The routes, one module for each resource. They translate between HTTP and the objects in `context.AppContext`.

Store calls are sync, so routes that make them are `def`: FastAPI runs those in a thread.
"""
