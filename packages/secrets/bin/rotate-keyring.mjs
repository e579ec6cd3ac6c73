#!/usr/bin/env node
// Adds a key to a keyring and makes it current: from the next start of the roles on, new secrets are kept under it. Older keys stay for
// what they encrypted. Plain Node, so that it runs wherever the file lies.
//   node packages/secrets/bin/rotate-keyring.mjs path/to/keyring.json
import { randomBytes } from 'node:crypto'
import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'

const [path] = process.argv.slice(2)
if (!path) {
  console.error('Which file? node packages/secrets/bin/rotate-keyring.mjs path/to/keyring.json')
  process.exit(1)
}
const keyring = JSON.parse(readFileSync(path, 'utf8'))
let number = Object.keys(keyring.keys).length + 1
while (keyring.keys[`k${number}`]) number++
keyring.current = `k${number}`
keyring.keys[keyring.current] = randomBytes(32).toString('base64')
writeFileSync(`${path}.new`, `${JSON.stringify(keyring, null, 2)}\n`, { mode: statSync(path).mode & 0o777 })
renameSync(`${path}.new`, path)
console.log(`${keyring.current} is the current key of ${path}; restart api, scheduler and stager, and back the file up.`)
