import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm, symlink, writeFile, chmod, utimes } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import tar from 'tar-stream'
import yazl from 'yazl'
import {
  type ArchiveLimits,
  assemblePackage,
  contentDigest,
  extractTar,
  extractZip,
  hashZipFiles,
  listZip,
  type MatchedEntry,
  packTar,
} from './index.js'

const LIMITS: ArchiveLimits = { maxEntries: 100, maxBytes: 100 * 1024 ** 2, maxRatio: 200 }
let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'archives-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

interface Piece {
  name: string
  body?: string | Buffer
  /** With type bits. */
  mode?: number
}
const FILE = 0o100644
const LINK = 0o120777

async function aZip(pieces: readonly Piece[], patch: (bytes: Buffer) => Buffer = (bytes) => bytes): Promise<string> {
  const zip = new yazl.ZipFile()
  for (const { name, body, mode } of pieces)
    if (name.endsWith('/')) zip.addEmptyDirectory(name, { mode: mode ?? 0o040755 })
    else zip.addBuffer(Buffer.from(body ?? ''), name, { mode: mode ?? FILE })
  zip.end()
  const path = join(folder, 'archive.zip')
  await writeFile(path, patch(await buffer(zip.outputStream)))
  return path
}
/** Writers refuse bad names; attackers do not. */
const renamed =
  (from: string, to: string) =>
  (bytes: Buffer): Buffer =>
    Buffer.from(bytes.toString('latin1').replaceAll(from, to), 'latin1')

async function aTar(pieces: readonly (Parameters<tar.Pack['entry']>[0] & { body?: string })[]): Promise<Readable> {
  const pack = tar.pack()
  for (const { body, ...header } of pieces) pack.entry(header, body ?? '')
  pack.finalize()
  const chunks: Buffer[] = []
  for await (const chunk of pack) chunks.push(chunk as Buffer)
  return Readable.from([Buffer.concat(chunks)])
}

describe('reading a zip', () => {
  it.each<[string, Piece[], (bytes: Buffer) => Buffer, string]>([
    ['a name that climbs out', [{ name: 'xx/evil' }], renamed('xx/evil', '../evil'), 'unsafe'],
    ['a name that climbs out in its middle', [{ name: 'a/xx/xx/evil' }], renamed('xx/xx', '../..'), 'unsafe'],
    ['a backslash name that climbs out', [{ name: 'xxyevil' }], renamed('xxyevil', '..\\evil'), 'unsafe'],
    ['an absolute name', [{ name: 'xetc/passwd' }], renamed('xetc', '/etc'), 'unsafe'],
    ['a drive letter', [{ name: 'Cxx/evil' }], renamed('Cxx/', 'C:\\/'), 'unsafe'],
    ['a link out of the tree', [{ name: 'link', body: '../../etc/passwd', mode: LINK }], (b) => b, 'unsafe'],
    ['an absolute link', [{ name: 'link', body: '/etc/passwd', mode: LINK }], (b) => b, 'unsafe'],
    [
      'a file beneath a link',
      [
        { name: 'dir', body: 'other', mode: LINK },
        { name: 'dir/file', body: 'x' },
      ],
      (b) => b,
      'unsafe',
    ],
    [
      'a link that replaces a file',
      [
        { name: 'one', body: 'x' },
        { name: 'two', body: 'other', mode: LINK },
      ],
      renamed('two', 'one'),
      'unsafe',
    ],
    ['a character device', [{ name: 'null', mode: 0o020666 }], (b) => b, 'unsafe'],
    ['a named pipe', [{ name: 'pipe', mode: 0o010666 }], (b) => b, 'unsafe'],
    ['a bomb', [{ name: 'zeros', body: Buffer.alloc(70 * 1024 ** 2) }], (b) => b, 'too-large'],
    ['too many bytes', [{ name: 'zeros', body: Buffer.alloc(101 * 1024 ** 2) }], (b) => b, 'too-large'],
    ['too many entries', Array.from({ length: 101 }, (_, i) => ({ name: `f${i}` })), (b) => b, 'too-large'],
    ['a truncated archive', [{ name: 'a', body: 'hello' }], (b) => b.subarray(0, b.length - 30), 'malformed'],
    ['something else', [], () => Buffer.from('not a zip at all, only some text that is long enough'), 'malformed'],
  ])('refuses %s', async (_name, pieces, patch, kind) => {
    const path = await aZip(pieces, patch)
    await expect(listZip(path, LIMITS)).rejects.toMatchObject({ name: 'ArchiveError', kind })
    await expect(extractZip(path, join(folder, 'out'), LIMITS)).rejects.toMatchObject({ kind })
    expect(await readdir(join(folder, 'out'))).toEqual([])
  })

  it('refuses an entry that inflates to more than it announced', async () => {
    const path = await aZip([{ name: 'a', body: 'x'.repeat(5000) }], (bytes) => {
      const at = bytes.lastIndexOf('PK\x01\x02', undefined, 'latin1')
      bytes.writeUInt32LE(100, at + 24)
      return bytes
    })
    await expect(extractZip(path, join(folder, 'out'), LIMITS)).rejects.toMatchObject({ kind: 'malformed' })
  })

  it('reads streamed archives with data descriptors, links, modes, and folders that are only implied', async () => {
    const zip = new yazl.ZipFile()
    zip.addReadStream(Readable.from(['streamed']), 'deep/down/file', { mode: 0o100755 })
    zip.addBuffer(Buffer.from('deep/down/file'), 'link', { mode: LINK })
    zip.addEmptyDirectory('locked', { mode: 0o040555 })
    zip.addBuffer(Buffer.from('x'), 'locked/inside', { mode: FILE })
    zip.end()
    const path = join(folder, 'a.zip')
    await writeFile(path, await buffer(zip.outputStream))
    await extractZip(path, join(folder, 'out'), LIMITS)
    expect(await readFile(join(folder, 'out/link'), 'utf8')).toBe('streamed')
    expect((await lstat(join(folder, 'out/deep/down/file'))).mode & 0o777).toBe(0o755)
    expect((await lstat(join(folder, 'out/locked'))).mode & 0o777).toBe(0o755)
    const [file] = await hashZipFiles(path, LIMITS, (entry) => entry.path.startsWith('deep'))
    expect(file).toMatchObject({ path: 'deep/down/file', mode: 0o755, sizeBytes: 8 })
    expect(file?.sha1).toBe(createHash('sha1').update('streamed').digest('hex'))
    expect(file?.sha256).toBe(createHash('sha256').update('streamed').digest('hex'))
  })

  it('takes the folders of the cf client, which have the type of a plain file', async () => {
    const path = await aZip([
      { name: 'empty/', mode: 0o100755 },
      { name: 'a', body: 'x' },
    ])
    expect((await listZip(path, LIMITS)).map(({ path, type }) => [path, type])).toEqual([
      ['empty', 'directory'],
      ['a', 'file'],
    ])
  })

  it('reads what the zip program writes', async () => {
    await mkdir(join(folder, 'src/sub'), { recursive: true })
    await writeFile(join(folder, 'src/sub/run'), '#!/bin/sh\n', { mode: 0o755 })
    await symlink('sub/run', join(folder, 'src/link'))
    execFileSync('python3', [
      '-c',
      'import shutil,sys; shutil.make_archive(sys.argv[1],"zip",sys.argv[2])',
      join(folder, 'made'),
      join(folder, 'src'),
    ])
    expect((await listZip(join(folder, 'made.zip'), LIMITS)).map(({ path }) => path)).toContain('sub/run')
  })
})

describe('assembling a package', () => {
  const known = (path: string, body: string, mode = 0o640): MatchedEntry => ({
    path,
    mode,
    sha1: createHash('sha1').update(body).digest('hex'),
    sha256: createHash('sha256').update(body).digest('hex'),
    size: body.length,
  })
  const openFile = (bodies: Record<string, string>) => async (file: MatchedEntry) =>
    Readable.from([Buffer.from(bodies[file.path] ?? '')])

  it('takes an upload without known files as it is', async () => {
    const zipPath = await aZip([{ name: 'a', body: 'A' }])
    const output = join(folder, 'package.zip')
    await assemblePackage({ zipPath, matched: [], openFile: openFile({}), output })
    expect(await readFile(output)).toEqual(await readFile(zipPath))
  })

  it('adds known files with their modes; an uploaded file wins', async () => {
    const zipPath = await aZip([{ name: 'a', body: 'new' }, { name: 'dir/' }, { name: 'link', body: 'a', mode: LINK }])
    const output = join(folder, 'package.zip')
    const matched = [known('a', 'old'), known('dir/b', 'known b', 0o755)]
    const entries = await assemblePackage({ zipPath, matched, openFile: openFile({ a: 'old', 'dir/b': 'known b' }), output })
    expect(entries.map(({ path }) => path)).toEqual(['a', 'dir', 'link', 'dir/b'])
    await extractZip(output, join(folder, 'out'), LIMITS)
    expect(await readFile(join(folder, 'out/a'), 'utf8')).toBe('new')
    expect(await readlink(join(folder, 'out/link'))).toBe('a')
    expect(await readFile(join(folder, 'out/dir/b'), 'utf8')).toBe('known b')
    expect((await lstat(join(folder, 'out/dir/b'))).mode & 0o777).toBe(0o755)
  })

  it('makes a package of known files alone', async () => {
    const output = join(folder, 'package.zip')
    await assemblePackage({ matched: [known('x', 'X')], openFile: openFile({ x: 'X' }), output })
    expect((await listZip(output, LIMITS)).map(({ path }) => path)).toEqual(['x'])
  })

  it.each<[string, MatchedEntry[], string]>([
    ['a name that climbs out', [known('../x', 'X')], 'unsafe'],
    ['an absolute name', [known('/x', 'X')], 'unsafe'],
    ['a file beneath an uploaded link', [known('link/x', 'X')], 'unsafe'],
    ['bytes that are not what their checksum says', [known('x', 'Y')], 'malformed'],
  ])('refuses %s', async (_name, matched, kind) => {
    const zipPath = await aZip([{ name: 'link', body: 'elsewhere', mode: LINK }])
    const output = join(folder, 'package.zip')
    await expect(assemblePackage({ zipPath, matched, openFile: openFile({ x: 'X' }), output })).rejects.toMatchObject({ kind })
  })
})

describe('tar', () => {
  it.each<[string, Parameters<typeof aTar>[0], string]>([
    ['a name that climbs out', [{ name: '../evil', body: 'x' }], 'unsafe'],
    ['an absolute name', [{ name: '/etc/evil', body: 'x' }], 'unsafe'],
    ['a link out of the tree', [{ name: 'l', type: 'symlink', linkname: '../x' }], 'unsafe'],
    [
      'a file beneath a link',
      [
        { name: 'l', type: 'symlink', linkname: 'd' },
        { name: 'l/x', body: 'x' },
      ],
      'unsafe',
    ],
    ['a hard link to the outside', [{ name: 'h', type: 'link', linkname: '../../etc/passwd' }], 'unsafe'],
    [
      'a hard link through a link',
      [
        { name: 'l', type: 'symlink', linkname: 'd' },
        { name: 'h', type: 'link', linkname: 'l/x' },
      ],
      'unsafe',
    ],
    ['a device', [{ name: 'd', type: 'block-device' }], 'unsafe'],
    ['a pipe', [{ name: 'p', type: 'fifo' }], 'unsafe'],
    ['too many bytes', [{ name: 'z', body: 'x'.repeat(2000) }], 'too-large'],
    ['too many entries', Array.from({ length: 12 }, (_, i) => ({ name: `f${i}` })), 'too-large'],
  ])('extracting refuses %s', async (_name, pieces, kind) => {
    const limits = { maxEntries: 10, maxBytes: 1000, maxRatio: 200 }
    await expect(extractTar(await aTar(pieces), join(folder, 'out'), { limits, links: 'inside' })).rejects.toMatchObject({ kind })
    expect(await readdir(folder)).toEqual(['out'])
  })

  it('extracting refuses a device and writes nothing through an absolute link even when links may point anywhere', async () => {
    const pieces = [
      { name: 'l', type: 'symlink' as const, linkname: folder },
      { name: 'l/evil', body: 'x' },
    ]
    await expect(extractTar(await aTar(pieces), join(folder, 'out'), { limits: LIMITS, links: 'any' })).rejects.toMatchObject({
      kind: 'unsafe',
    })
    expect(await readdir(folder)).toEqual(['out'])
  })

  it.each([
    ['garbage', Buffer.from('garbage'.repeat(200))],
    ['damaged gzip', Buffer.concat([gzipSync('x').subarray(0, 12), Buffer.from('damage')])],
  ])('extracting refuses %s', async (_name, bytes) => {
    await expect(extractTar(Readable.from([bytes]), join(folder, 'out'), { limits: LIMITS, links: 'any' })).rejects.toMatchObject(
      {
        kind: 'malformed',
      },
    )
  })

  it('a packed folder comes back with modes, links and times; gzip members one after another are one archive', async () => {
    const from = join(folder, 'from')
    await mkdir(join(from, 'a/locked'), { recursive: true })
    await writeFile(join(from, 'a/run'), 'x'.repeat(300_000), { mode: 0o750 })
    await writeFile(join(from, 'a/empty'), '')
    await symlink('/usr/bin/python3', join(from, 'a/python'))
    await utimes(join(from, 'a/run'), 1_000_000, 1_000_000)
    await chmod(join(from, 'a/locked'), 0o555)
    const bytes = await buffer(packTar(from))
    const middle = Math.floor(bytes.length / 1024) * 512
    const members = Buffer.concat([gzipSync(bytes.subarray(0, middle)), gzipSync(bytes.subarray(middle))])
    await extractTar(Readable.from([members]), join(folder, 'out'), { limits: LIMITS, links: 'any' })
    const run = await lstat(join(folder, 'out/a/run'))
    expect([run.mode & 0o777, run.size, run.mtimeMs]).toEqual([0o750, 300_000, 1_000_000_000])
    expect(await readlink(join(folder, 'out/a/python'))).toBe('/usr/bin/python3')
    expect((await lstat(join(folder, 'out/a/locked'))).mode & 0o777).toBe(0o555)
    await writeFile(join(folder, 'o.tar'), bytes)
    expect(execFileSync('tar', ['-tf', join(folder, 'o.tar')]).toString()).toContain('./a/run\n')
    await chmod(join(folder, 'out/a/locked'), 0o755)
    await extractTar(createReadStream(join(folder, 'o.tar')), join(folder, 'again'), { limits: LIMITS, links: 'any' })
  })
})

describe('the digest of what an archive holds', () => {
  it('is the same whatever the order and the folders named, and another for any change', async () => {
    const digest = async (pieces: readonly Piece[]) => contentDigest(await aZip(pieces), LIMITS)
    const files: Piece[] = [
      { name: 'a/b.txt', body: 'b' },
      { name: 'run', body: 'x', mode: 0o100755 },
      { name: 'link', body: 'run', mode: LINK },
    ]
    const first = await digest(files)
    expect(await digest([{ name: 'a/' }, ...files].reverse())).toBe(first)
    for (const changed of [
      [{ name: 'empty/' }, ...files],
      [{ name: 'a/b.txt', body: 'c' }, ...files.slice(1)],
      [files[0]!, { ...files[1]!, mode: 0o100644 }, files[2]!],
      [files[0]!, files[1]!, { ...files[2]!, body: 'a/b.txt' }],
      files.slice(1),
    ])
      expect(await digest(changed)).not.toBe(first)
  })
})
