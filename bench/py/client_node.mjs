// One file through the AWS Encryption SDK for JavaScript, as its examples stream it.
// client_node.mjs PACKAGES KEY encrypt|decrypt IN OUT

import { createReadStream, createWriteStream, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

const [packages, key, way, from, to] = process.argv.slice(2);
const sdk = createRequire(join(packages, "package.json"))("@aws-crypto/client-node");
const { encryptStream, decryptStream } = sdk.buildClient(
  sdk.CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT,
);
const keyring = new sdk.RawAesKeyringNode({
  keyNamespace: "bench",
  keyName: "key",
  unencryptedMasterKey: new Uint8Array(readFileSync(key)),
  wrappingSuite: sdk.RawAesWrappingSuiteIdentifier.AES256_GCM_IV12_TAG16_NO_PADDING,
});
const through = way === "encrypt" ? encryptStream(keyring, { frameLength: 65536 }) : decryptStream(keyring);
await pipeline(createReadStream(from), through, createWriteStream(to));
