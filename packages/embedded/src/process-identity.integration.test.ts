import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, describe, expect, it } from '@jest/globals'
import { findByPidFile } from './process-identity.js'

describe('findByPidFile', () => {
  const folder = mkdtempSync(join(tmpdir(), 'bloomery-identity-'))
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  it('never loses a process that becomes another program again and again', async () => {
    const script = join(folder, 'again.sh')
    writeFileSync(script, '[ "$1" -eq 0 ] && exec cat\nexec /bin/sh "$0" $(($1 - 1)) the-mark\n')
    const child = spawn('/bin/sh', [script, '400', 'the-mark'], { stdio: ['pipe', 'ignore', 'ignore'] })
    const ended = new Promise((resolve) => child.once('exit', resolve))
    const pidFile = join(folder, 'pid')
    writeFileSync(pidFile, `${child.pid}\n`)
    let looks = 0
    // Until it is `cat`, which has no mark.
    for (; child.exitCode === null && findByPidFile(pidFile, 'the-mark'); looks++) if (looks % 50 === 0) await turn()
    expect(findByPidFile(pidFile, 'cat')?.pid).toBe(child.pid)
    expect(looks).toBeGreaterThan(100)
    child.stdin.end()
    await ended
    expect(findByPidFile(pidFile, 'cat')).toBeUndefined()
  })
})
