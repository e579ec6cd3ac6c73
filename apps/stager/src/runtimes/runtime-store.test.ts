import { createWriteStream } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { packTar } from '@bloomery/archives'
import { createLogger } from '@bloomery/telemetry'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import type { Dependency } from './manifest.js'
import type { Choice, RuntimeSources } from './runtime-sources.js'
import { RuntimeStore } from './runtime-store.js'

const source = { kind: 'npm', package: { x64: 'tool-x64', arm64: 'tool-arm64' }, executable: [] } as const
const tool: Dependency = { name: 'tool', sources: [{ ...source, executable: [] }], aliases: {} }

describe('runtimes from a source', () => {
  let home: string
  let downloads: number
  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'runtime-store-'))
    downloads = 0
    await mkdir(join(home, 'tool/bin'), { recursive: true })
    await writeFile(join(home, 'tool/bin/tool'), 'a tool')
  })
  afterEach(() => rm(home, { recursive: true, force: true }))

  const store = (architecture: string): RuntimeStore => {
    const sources = {
      async *choices() {
        await Promise.resolve()
        const published = { version: '1.2.3', name: '1.2.3' }
        yield { kind: 'source', source: { ...source, executable: [] }, published } satisfies Choice
      },
      async download(_source: unknown, _published: unknown, folder: string) {
        downloads += 1
        const path = join(folder, 'tool.tar')
        await pipeline(packTar(join(home, 'tool')), createWriteStream(path))
        return { path, format: 'tar', checksum: 'sha512-x' }
      },
    }
    return new RuntimeStore(
      join(home, 'store'),
      sources as unknown as RuntimeSources,
      architecture,
      createLogger('test', 'silent'),
    )
  }
  const obtained = async (from: RuntimeStore) => {
    const found = await from.obtain(tool, '1.x')
    await from.settled()
    return found
  }

  it.each([
    ['x64', 'tool-x64'],
    ['arm64', 'tool-arm64'],
  ])('are recorded by the one name that they have for %s, and brought once', async (architecture, name) => {
    const origin = { source: 'npm', name, version: '1.2.3', checksum: 'sha512-x' }
    expect(await obtained(store(architecture))).toMatchObject({ version: '1.2.3', origin })
    expect(await obtained(store(architecture))).toMatchObject({ origin })
    expect(downloads).toBe(1)
  })

  it('are asked for anew where their record is of an earlier form', async () => {
    const first = await obtained(store('x64'))
    const records = join(home, 'store/.records')
    const [record = ''] = await readdir(records)
    const kept = await readFile(join(records, record), 'utf8')
    await writeFile(join(records, record), kept.replace('"tool-x64"', '"tool-x64 or tool-arm64"'))
    expect(await obtained(store('x64'))).toEqual(first)
    expect(await readFile(join(records, record), 'utf8')).toBe(kept)
    expect(downloads).toBe(2)
  })
})
