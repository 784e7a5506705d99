// A client of a KMS by the AWS SDK for JavaScript, version 3. Everything it knows is in the
// environment. The first argument names the folder that the packages are installed in; then
//
//   encrypt KEY NAME=VALUE    plaintext on stdin, ciphertext blob on stdout
//   decrypt NAME=VALUE        ciphertext blob on stdin, plaintext on stdout
//   sign KEY                  signs and verifies by the KMS, and verifies by Node.js itself

import { createRequire } from "node:module";
import { createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const [packages, command, ...rest] = process.argv.slice(2);
const require = createRequire(join(packages, "package.json"));
const sdk = require("@aws-sdk/client-kms");

const client = new sdk.KMSClient({ maxAttempts: 1 });
const pair = (text) => Object.fromEntries([text.split("=")]);

const commands = {
  async encrypt(key, context) {
    const answer = await client.send(
      new sdk.EncryptCommand({
        KeyId: key,
        Plaintext: readFileSync(0),
        EncryptionContext: pair(context),
      }),
    );
    process.stdout.write(answer.CiphertextBlob);
  },
  async decrypt(context) {
    const answer = await client.send(
      new sdk.DecryptCommand({
        CiphertextBlob: readFileSync(0),
        EncryptionContext: pair(context),
      }),
    );
    process.stdout.write(answer.Plaintext);
  },
  async sign(key) {
    const message = Buffer.from("a message");
    const named = { KeyId: key, Message: message, SigningAlgorithm: "ECDSA_SHA_256" };
    const { Signature } = await client.send(new sdk.SignCommand(named));
    const { SignatureValid } = await client.send(new sdk.VerifyCommand({ ...named, Signature }));
    const { PublicKey } = await client.send(new sdk.GetPublicKeyCommand({ KeyId: key }));
    const own = createPublicKey({ key: Buffer.from(PublicKey), format: "der", type: "spki" });
    if (!SignatureValid || !verify("sha256", message, own, Signature)) {
      throw new Error("the signature is wrong");
    }
  },
};

try {
  await commands[command](...rest);
} catch (error) {
  console.error(`${error.name}: ${error.message}`);
  process.exitCode = 1;
}
