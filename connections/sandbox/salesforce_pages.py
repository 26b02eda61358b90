"""placeholder"""


class Pages:
    def __init__(self, app):
        pass
