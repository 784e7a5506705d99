"""A plugin of aws-encryption-cli: keys in files.

    --wrapping-keys provider=waxseal-raw key=NAME kind=aes|rsa file=FILE namespace=NS [padding=P]

The folder beside this file registers it (entry point `aws_encryption_sdk_cli.master_key_providers`)
wherever this folder is in the search path of Python.
"""

from aws_encryption_sdk.key_providers.raw import RawMasterKeyProvider

from raw_keys import master_key


class FileKeys(RawMasterKeyProvider):
    """Gives the key of the file by the name that it is asked for."""

    provider_id = None

    def __new__(cls, **arguments):
        # The SDK takes the class for a namespace of its own: each namespace gets a class.
        namespace = arguments["namespace"][0]
        named = type(cls.__name__, (cls,), {"provider_id": namespace})
        return super(FileKeys, cls).__new__(named)

    def __init__(self, **arguments):
        wanted = ("kind", "file", "namespace", "padding")
        self.arguments = {name: arguments[name][0] for name in wanted if name in arguments}

    def _new_master_key(self, key_id):
        return master_key(name=key_id, **self.arguments)

    def _get_raw_key(self, key_id):
        raise NotImplementedError("_new_master_key makes the whole key")
