import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { type Blobstore, openBlobstore, verifySignature } from './index.js'

const signingKey = randomBytes(32)
const access = { blobsUrl: 'https://127.0.0.1:9', signingKey: () => signingKey }
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
const keys = async (store: Blobstore, prefix: string): Promise<string[]> => {
  const found: string[] = []
  for await (const entry of store.list(prefix)) found.push(entry.key)
  return found.sort()
}
const read = async (store: Blobstore, key: string): Promise<string> => (await buffer((await store.get(key)).body)).toString()

/** The least of S3 that the driver needs. */
function fakeS3(): Server {
  const objects = new Map<string, Buffer>()
  return createServer((request, response) => {
    void (async () => {
      const { pathname, searchParams } = new URL(request.url ?? '/', 'http://s3')
      const key = pathname.replace(/^\/bucket\/?/, '')
      const source = request.headers['x-amz-copy-source']
      if (request.method === 'PUT' && typeof source === 'string') {
        const copied = objects.get(source.replace(/^\/?bucket\//, ''))
        if (copied) objects.set(key, copied)
        response
          .writeHead(copied ? 200 : 404)
          .end(copied ? '<CopyObjectResult></CopyObjectResult>' : '<Error><Code>NoSuchKey</Code></Error>')
      } else if (request.method === 'PUT') {
        objects.set(key, await buffer(request))
        response.end()
      } else if (request.method === 'DELETE') {
        objects.delete(key)
        response.writeHead(204).end()
      } else if (searchParams.get('list-type') === '2') {
        const found = [...objects].filter(([name]) => name.startsWith(searchParams.get('prefix') ?? ''))
        const contents = found.map(([name, bytes]) => `<Contents><Key>${name}</Key><Size>${bytes.length}</Size></Contents>`)
        response.end(`<ListBucketResult><IsTruncated>false</IsTruncated>${contents.join('')}</ListBucketResult>`)
      } else {
        const found = objects.get(key)
        if (!found) response.writeHead(404).end(request.method === 'GET' ? '<Error><Code>NoSuchKey</Code></Error>' : undefined)
        else response.writeHead(200, { 'content-length': found.length }).end(request.method === 'GET' ? found : undefined)
      }
    })()
  })
}

describe.each(['file', 's3'] as const)('a %s: blob store', (kind) => {
  let folder: string
  let server: Server | undefined
  let store: Blobstore
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'blobs-'))
    if (kind === 'file') store = await openBlobstore(`file:${folder}/store`, access)
    else {
      server = fakeS3()
      await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve))
      const endpoint = encodeURIComponent(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
      store = await openBlobstore(`s3://key:secret@bucket/some/prefix?path_style=true&endpoint=${endpoint}`, access)
    }
  })
  afterAll(async () => {
    server?.closeAllConnections()
    server?.close()
    await rm(folder, { recursive: true, force: true })
  })

  it('keeps what was put, and tells its size and checksum', async () => {
    const info = await store.put('packages/a', Readable.from(['hello ', 'world']))
    expect(info).toEqual({ key: 'packages/a', sizeBytes: 11, sha256: sha256('hello world') })
    expect(await read(store, 'packages/a')).toBe('hello world')
    expect(await store.stat('packages/a')).toMatchObject({ key: 'packages/a', sizeBytes: 11 })
  })

  it('takes over files, copies, lists by prefix and deletes', async () => {
    await writeFile(join(folder, 'file'), 'content')
    expect(await store.putFile('droplets/1', join(folder, 'file'))).toMatchObject({ sizeBytes: 7, sha256: sha256('content') })
    await store.copy('droplets/1', 'droplets/2')
    await store.copy('droplets/1', 'droplets/2')
    expect(await keys(store, 'droplets/')).toEqual(['droplets/1', 'droplets/2'])
    await store.delete('droplets/1')
    await store.delete('droplets/1')
    expect(await keys(store, 'drop')).toEqual(['droplets/2'])
    expect(await read(store, 'droplets/2')).toBe('content')
  })

  it.each([
    ['too many bytes', { maxBytes: 4 }, 'too-large'],
    ['another checksum than announced', { sha256: sha256('other') }, 'checksum-mismatch'],
  ])('refuses %s and leaves nothing', async (_name, options, errorKind) => {
    await expect(store.put('packages/bad', Readable.from(['hello']), options)).rejects.toMatchObject({ kind: errorKind })
    expect(await store.stat('packages/bad')).toBeUndefined()
    if (kind === 'file') expect(await readdir(join(folder, 'store/.incoming'))).toEqual([])
  })

  it('leaves nothing of an upload that breaks off', async () => {
    const broken = Readable.from(
      (async function* () {
        yield 'some'
        throw new Error('peer went away')
      })(),
    )
    await expect(store.put('packages/broken', broken)).rejects.toThrow('peer went away')
    expect(await store.stat('packages/broken')).toBeUndefined()
  })

  it('says not-found', async () => {
    await expect(store.get('packages/none')).rejects.toMatchObject({ kind: 'not-found' })
    await expect(store.copy('packages/none', 'packages/x')).rejects.toMatchObject({ kind: 'not-found' })
  })

  it.each(['../etc/passwd', '/etc/passwd', 'a/../b', 'a//b', '.incoming/x', 'a/.b', '', 'a\0b'])(
    'refuses the key %j',
    async (key) => {
      await expect(Promise.resolve().then(() => store.get(key))).rejects.toMatchObject({ kind: 'not-found' })
    },
  )
})

describe('a signed address', () => {
  it('is served until it expires, and for its key alone', async () => {
    const store = await openBlobstore('file:/nowhere', access)
    const url = new URL(await store.signedUrl('droplets/1', 60))
    expect(url.origin).toBe('https://127.0.0.1:9')
    const key = url.pathname.replace('/internal/blobs/', '')
    const expires = url.searchParams.get('expires') ?? undefined
    const signature = url.searchParams.get('signature') ?? undefined
    expect(verifySignature({ key, expires, signature }, signingKey)).toBe(true)
    expect(verifySignature({ key: 'droplets/2', expires, signature }, signingKey)).toBe(false)
    expect(verifySignature({ key, expires: String(Number(expires) + 60), signature }, signingKey)).toBe(false)
    expect(verifySignature({ key, expires, signature }, signingKey, new Date(Date.now() + 61_000))).toBe(false)
    expect(verifySignature({ key, expires, signature: undefined }, signingKey)).toBe(false)
    expect(verifySignature({ key, expires, signature }, randomBytes(32))).toBe(false)
  })
})
