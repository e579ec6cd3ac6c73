import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import { KeyringError, loadKeyring } from './keyring.js'

describe('the keyring', () => {
  let folder = ''
  let path = ''
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'bloomery-keyring-'))
    path = join(folder, 'keyring.json')
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  it('is made once, readable by its owner alone', () => {
    expect(() => loadKeyring(path)).toThrow(KeyringError)
    const made = loadKeyring(path, { create: true })
    expect(loadKeyring(path).derive('x')).toEqual(made.derive('x'))
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  it('gives a secret back in its own place alone', () => {
    const keyring = loadKeyring(path, { create: true })
    const secret = keyring.encryptJson({ a: 1 }, 'app:1')
    expect(JSON.parse(keyring.decrypt(secret, 'app:1'))).toEqual({ a: 1 })
    expect(() => keyring.decrypt(secret, 'app:2')).toThrow()
  })

  it('reads what older keys encrypted after it was rotated, and encrypts under the new one', () => {
    const before = loadKeyring(path, { create: true }).encrypt('old', 'here')
    const program = fileURLToPath(new URL('../bin/rotate-keyring.mjs', import.meta.url))
    execFileSync(process.execPath, [program, path], { stdio: 'ignore' })
    const rotated = loadKeyring(path)
    expect(rotated.keyIds).toEqual(['k1', 'k2'])
    expect(rotated.decrypt(before, 'here')).toBe('old')
    expect(rotated.encrypt('new', 'here').kid).toBe('k2')
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  it('takes up a new key while it runs, and keeps what it has through a spoilt file', () => {
    const [writer, reader] = [loadKeyring(path, { create: true }), loadKeyring(path)]
    const old = writer.encrypt('old', 'here')
    const program = fileURLToPath(new URL('../bin/rotate-keyring.mjs', import.meta.url))
    execFileSync(process.execPath, [program, path], { stdio: 'ignore' })
    const secret = loadKeyring(path).encrypt('new', 'here')
    expect(secret.kid).toBe('k2')
    const later = Date.now() + 60_000
    const clock = jest.spyOn(Date, 'now').mockImplementation(() => later)
    try {
      expect(reader.decrypt(secret, 'here')).toBe('new')
      expect(writer.encrypt('x', 'here').kid).toBe('k2')
      clock.mockImplementation(() => later + 60_000)
      writeFileSync(path, '{')
      expect(writer.currentKeyId).toBe('k2')
      expect(writer.decrypt(old, 'here')).toBe('old')
    } finally {
      clock.mockRestore()
    }
  })

  it('says which key is missing, and what is wrong with a file', () => {
    const secret = loadKeyring(path, { create: true }).encrypt('x', 'here')
    const other = loadKeyring(join(folder, 'other.json'), { create: true })
    expect(() => other.decrypt({ ...secret, kid: 'k9' }, 'here')).toThrow(/k9/)
    writeFileSync(path, '{"version":1,"current":"k1","keys":{"k1":"short"}}')
    expect(() => loadKeyring(path)).toThrow(/malformed/)
  })
})
