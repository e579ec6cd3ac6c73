import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { silentLogger } from '@bloomery/telemetry'
import { AccessFile } from './access-file.js'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'access-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))
const read = (name: string): string => readFileSync(join(dir, name), 'utf8')

describe('the access log file', () => {
  it('has every line of several writers, whole', async () => {
    const path = join(dir, 'log/access.log')
    const writers = [0, 1].map(() => new AccessFile(path, 1e9, silentLogger))
    const lines = Array.from({ length: 5_000 }, (_, i) => `line ${i} ${'x'.repeat(i % 100)}`)
    lines.forEach((line, i) => writers[i % 2]?.add(line))
    await Promise.all(writers.map((writer) => writer.close()))
    expect(read('log/access.log').trimEnd().split('\n').sort()).toEqual([...lines].sort())
  })

  it('begins anew when it has grown too large, for every writer', async () => {
    const path = join(dir, 'access.log')
    const writers = [0, 1].map(() => new AccessFile(path, 1_000, silentLogger))
    writers[0]?.add('x'.repeat(2_000))
    for (let i = 0; i < 200; i++) {
      await delay(20)
      try {
        if (read('access.log.1').length > 1_000 && read('access.log') === '') break
      } catch {
        // Not yet there.
      }
    }
    await delay(600)
    for (const writer of writers) writer.add('new')
    await Promise.all(writers.map((writer) => writer.close()))
    expect(read('access.log')).toBe('new\nnew\n')
  })
})
