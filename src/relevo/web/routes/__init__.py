"""The routes: each file translates one noun between HTTP and the objects in `Parts`.

Store calls are plain sync functions, so routes that make them are `def`: the framework runs those in a thread.
"""
