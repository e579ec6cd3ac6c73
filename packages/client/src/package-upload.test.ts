import { createHash } from 'node:crypto'
import { chmod, mkdir, mkdtemp, open, rm, symlink, truncate, unlink, writeFile } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fromBuffer, type Entry, type ZipFile } from 'yauzl'
import type { CloudClient } from './cloud-client.js'
import { FakeCloud, json } from './fake-cloud.fixture.js'
import { openClient } from './open-client.js'
import { type MatchedResource, uploadPackage, zipOf } from './package-upload.js'
import { openSource } from './source-files.js'

let cloud: FakeCloud
let client: CloudClient
let folder: string
let asked: MatchedResource[]
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'package-upload-'))
  cloud = new FakeCloud()
  await cloud.open()
  client = await openClient({ api: cloud.url, credentials: { kind: 'password', username: 'admin', password: 'x' } })
  asked = []
  cloud.on('POST /v3/resource_matches', (_request, response, body) => {
    asked = (JSON.parse(body.toString()) as { resources: MatchedResource[] }).resources
    json(response, 201, { resources: asked.filter(({ path }) => path.startsWith('known')) })
  })
})
afterEach(async () => {
  await client.close()
  await cloud.close()
  await rm(folder, { recursive: true, force: true })
})

/** The two parts of an upload, as they lie on the wire. */
async function parts(request: IncomingMessage): Promise<{ resources: MatchedResource[]; bits: Buffer | undefined }> {
  const chunks: Buffer[] = []
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
  const body = Buffer.concat(chunks)
  const boundary = `--${/boundary=(.+)$/.exec(request.headers['content-type'] ?? '')?.[1] ?? ''}`
  const [first, second] = body.toString('latin1').split(boundary).slice(1)
  const content = (part: string): Buffer => Buffer.from(part.slice(part.indexOf('\r\n\r\n') + 4, -2), 'latin1')
  return {
    resources: JSON.parse(content(first ?? '').toString()) as MatchedResource[],
    bits: second?.startsWith('--') ? undefined : content(second ?? ''),
  }
}

const entriesOf = (zip: Buffer): Promise<Map<string, { mode: number; text: string }>> =>
  new Promise((resolve, reject) => {
    const found = new Map<string, { mode: number; text: string }>()
    fromBuffer(zip, { lazyEntries: true }, (error, file: ZipFile) => {
      if (error) return reject(error)
      file.on('end', () => resolve(found))
      file.on('error', reject)
      file.on('entry', (entry: Entry) => {
        const mode = entry.externalFileAttributes >>> 16
        file.openReadStream(entry, (failure, stream) => {
          if (failure) return reject(failure)
          let text = ''
          stream.on('data', (chunk: Buffer) => (text += chunk.toString()))
          stream.on('end', () => {
            found.set(entry.fileName, { mode, text })
            file.readEntry()
          })
        })
      })
      file.readEntry()
    })
  })

describe('uploading a package', () => {
  it('sends what the server lacks, with modes, links, empty files and folders', async () => {
    await writeFile(join(folder, 'known.txt'), 'known')
    await writeFile(join(folder, 'new.txt'), 'new')
    await writeFile(join(folder, 'same.txt'), 'new')
    await writeFile(join(folder, 'known-empty'), '')
    await writeFile(join(folder, 'run'), '#!')
    await chmod(join(folder, 'run'), 0o755)
    await mkdir(join(folder, 'void'))
    await symlink('run', join(folder, 'link'))
    let sent: Awaited<ReturnType<typeof parts>> | undefined
    cloud.on('POST /v3/packages/p/upload', async (request, response) => {
      sent = await parts(request)
      json(response, 200, { guid: 'p', state: 'PROCESSING_UPLOAD' })
    })
    cloud.on('GET /v3/packages/p', (_request, response) => json(response, 200, { guid: 'p', state: 'READY' }))
    await uploadPackage(client, 'p', await openSource(folder))
    expect(asked.map(({ path }) => path)).toEqual(['known.txt', 'new.txt', 'run', 'same.txt'])
    const value = createHash('sha1').update('known').digest('hex')
    expect(asked[0]).toEqual({ path: 'known.txt', mode: '644', checksum: { value }, size_in_bytes: 5 })
    expect(sent?.resources.map(({ path }) => path)).toEqual(['known.txt'])
    const zip = await entriesOf(sent?.bits ?? Buffer.alloc(0))
    expect([...zip.keys()].sort()).toEqual(['known-empty', 'link', 'new.txt', 'run', 'same.txt', 'void/'])
    expect(zip.get('run')).toEqual({ mode: 0o100755, text: '#!' })
    expect(zip.get('link')).toEqual({ mode: 0o120777, text: 'run' })
    expect(zip.get('void/')?.mode).toBe(0o040755)
  })

  it('sends no archive when the server knows every file', async () => {
    await writeFile(join(folder, 'known.txt'), 'known')
    let sent: Awaited<ReturnType<typeof parts>> | undefined
    cloud.on('POST /v3/packages/p/upload', async (request, response) => {
      sent = await parts(request)
      json(response, 200, { guid: 'p', state: 'READY' })
    })
    await uploadPackage(client, 'p', await openSource(folder))
    expect(sent?.bits).toBeUndefined()
  })

  it('says why a package failed, and why an upload was refused', async () => {
    await writeFile(join(folder, 'a'), 'a')
    cloud.on('POST /v3/packages/p/upload', async (request, response) => {
      await parts(request)
      json(response, 200, { guid: 'p', state: 'FAILED', data: { error: 'too many entries' } })
    })
    await expect(uploadPackage(client, 'p', await openSource(folder))).rejects.toThrow('too many entries')
    cloud.on('POST /v3/packages/p/upload', async (request, response) => {
      await parts(request)
      json(response, 413, { errors: [{ code: 10008, title: 'CF-UnprocessableEntity', detail: 'The package is too large.' }] })
    })
    await expect(uploadPackage(client, 'p', await openSource(folder))).rejects.toThrow('The package is too large.')
    await expect(openSource(join(folder, 'nowhere'))).rejects.toThrow('does not exist')
  })

  it('fails, and does not truncate, when a file vanishes meanwhile', async () => {
    await writeFile(join(folder, 'a'), 'a')
    const stream = zipOf([{ kind: 'file', path: 'a', absolute: join(folder, 'gone'), mode: 0o644, size: 1 }])
    await unlink(join(folder, 'a'))
    const failure = await (async () => {
      for await (const chunk of stream as AsyncIterable<Buffer>) expect(chunk).toBeDefined()
      return 'no failure'
    })().catch(String)
    expect(failure).toContain('ENOENT')
  })

  it('keeps memory flat for a large folder and a slow server', async () => {
    const file = await open(join(folder, 'large'), 'w')
    await file.close()
    await truncate(join(folder, 'large'), 512 * 1024 * 1024)
    let received = 0
    cloud.on('POST /v3/packages/p/upload', async (request, response) => {
      for await (const chunk of request as AsyncIterable<Buffer>) received += chunk.length
      json(response, 200, { guid: 'p', state: 'READY' })
    })
    const before = process.memoryUsage.rss()
    let highest = before
    const watch = setInterval(() => (highest = Math.max(highest, process.memoryUsage.rss())), 20)
    await uploadPackage(client, 'p', await openSource(folder))
    clearInterval(watch)
    expect(received).toBeGreaterThan(200_000)
    expect(highest - before).toBeLessThan(200 * 1024 * 1024)
  })
})
