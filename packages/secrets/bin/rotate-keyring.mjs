#!/usr/bin/env node
// Adds a key to a keyring and makes it current. Roles that read this file use it within seconds, without a restart, and the api then
// encrypts everything anew under it. Plain Node, so that it runs wherever the file lies.
//   node packages/secrets/bin/rotate-keyring.mjs path/to/keyring.json              adds a key and makes it current
//   node packages/secrets/bin/rotate-keyring.mjs path/to/keyring.json --add        adds a key that is not used yet
//   node packages/secrets/bin/rotate-keyring.mjs path/to/keyring.json --use k2     makes one current
//   node packages/secrets/bin/rotate-keyring.mjs path/to/keyring.json --remove k1  removes one that nothing is encrypted with any more
import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readFileSync, writeFileSync } from 'node:fs'

const [path, how = '', id] = process.argv.slice(2)
const fail = (message) => {
  console.error(message)
  process.exit(1)
}
if (!path) fail('Which file? node packages/secrets/bin/rotate-keyring.mjs path/to/keyring.json')
if (!['', '--add', '--use', '--remove'].includes(how)) fail(`${how} is none of --add, --use and --remove.`)
const before = readFileSync(path, 'utf8')
const keyring = JSON.parse(before)
if (how === '--use' || how === '--remove') {
  if (!Object.hasOwn(keyring.keys, id ?? '')) fail(`Which key? ${path} has ${Object.keys(keyring.keys).join(', ')}.`)
  if (how === '--use') keyring.current = id
  else if (keyring.current === id) fail(`${id} is the current key; make another one current first.`)
  else delete keyring.keys[id]
} else {
  let number = Object.keys(keyring.keys).length + 1
  while (keyring.keys[`k${number}`]) number++
  keyring.keys[`k${number}`] = randomBytes(32).toString('base64')
  if (how === '') keyring.current = `k${number}`
}
// In place, since a file that is mounted into containers by itself cannot be replaced; what it was stands beside it until the next time.
writeFileSync(`${path}.previous`, before, { mode: 0o600 })
const file = openSync(path, 'r+')
const text = `${JSON.stringify(keyring, null, 2)}\n`
writeFileSync(file, text.padEnd(before.length))
fsyncSync(file)
closeSync(file)
const keys = Object.keys(keyring.keys).join(', ')
console.log(`${path} has the keys ${keys}; ${keyring.current} is the current one. Back the file up, and delete ${path}.previous.`)
