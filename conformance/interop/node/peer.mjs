// The AWS Encryption SDK for JavaScript as a peer (../py/peer.py says how to talk to it).
// The first argument names the folder that the packages are installed in.

import { createRequire } from "node:module";
import { constants } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { join } from "node:path";

const require = createRequire(join(process.argv[2], "package.json"));
const sdk = require("@aws-crypto/client-node");

const PUBLIC_KEY = "aws-crypto-public-key";
const AES = {
  16: sdk.RawAesWrappingSuiteIdentifier.AES128_GCM_IV12_TAG16_NO_PADDING,
  24: sdk.RawAesWrappingSuiteIdentifier.AES192_GCM_IV12_TAG16_NO_PADDING,
  32: sdk.RawAesWrappingSuiteIdentifier.AES256_GCM_IV12_TAG16_NO_PADDING,
};
const committing = sdk.buildClient(sdk.CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT);
const others = sdk.buildClient(sdk.CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT);

const client = (job) => (["0478", "0578"].includes(job.suite) ? committing : others);
const isSigned = (job) => ["0214", "0346", "0378", "0578"].includes(job.suite);

function keyring({ kind, file, namespace, name, padding }) {
  const names = { keyNamespace: namespace, keyName: name };
  const key = readFileSync(file);
  if (kind === "aes") {
    // Its own buffer: the SDK refuses a view into a larger one.
    const unencryptedMasterKey = new Uint8Array(key);
    return new sdk.RawAesKeyringNode({
      ...names, unencryptedMasterKey, wrappingSuite: AES[key.length], utf8Sorting: true,
    });
  }
  const rsaKey = { privateKey: key, publicKey: readFileSync(`${file}.pub`) };
  const pkcs1 = { padding: constants.RSA_PKCS1_PADDING };
  const oaep = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: padding.slice("oaep-".length) };
  return new sdk.RawRsaKeyringNode({ ...names, rsaKey, ...(padding === "pkcs1" ? pkcs1 : oaep) });
}

async function encrypt(job) {
  const { result } = await client(job).encrypt(keyring(job.key), readFileSync(job.in), {
    suiteId: parseInt(job.suite, 16),
    frameLength: job.frame,
    encryptionContext: job.context,
  });
  writeFileSync(job.out, result);
}

async function decrypt(job) {
  const opened = await client(job).decrypt(keyring(job.key), readFileSync(job.in));
  compare(job, opened.messageHeader);
  writeFileSync(job.out, opened.plaintext);
}

function compare(job, header) {
  const { [PUBLIC_KEY]: publicKey, ...context } = header.encryptionContext;
  const sorted = (object) => JSON.stringify(Object.entries(object).sort());
  if ((publicKey !== undefined) !== isSigned(job)) {
    throw Error("a public key in the context belongs to signed messages, and to them alone");
  }
  if (sorted(context) !== sorted(job.context)) {
    throw Error(`encryption context ${sorted(context)}, expected ${sorted(job.context)}`);
  }
  if (header.suiteId !== parseInt(job.suite, 16)) {
    throw Error(`suite ${header.suiteId.toString(16)}, expected ${job.suite}`);
  }
  if (header.frameLength !== job.frame) {
    throw Error(`frames of ${header.frameLength} bytes, expected ${job.frame}`);
  }
}

process.stdout.write("ready\n");
for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line);
  let answer = "ok";
  try {
    await (job.op === "encrypt" ? encrypt : decrypt)(job);
  } catch (error) {
    answer = `FAIL ${error.name}: ${error.message}`.replace(/\s+/g, " ");
  }
  process.stdout.write(`${answer}\n`);
}
