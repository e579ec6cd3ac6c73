import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import yazl from 'yazl'
import { Downloads } from './downloads.js'
import { GomodClient, hashOfZip } from './gomod-source.js'
import type { GomodSource, MavenSource, UrlSource } from './manifest.js'
import { MavenClient } from './maven-source.js'
import { UrlClient } from './url-source.js'
import { VersionLists } from './version-lists.js'

const digest = (algorithm: string, body: Buffer): string => createHash(algorithm).update(body).digest('hex')

describe('sources of runtimes, by a mirror', () => {
  const pages = new Map<string, Buffer>()
  const asked: string[] = []
  const downloads = new Downloads()
  let server: Server
  let base = ''
  let folder = ''
  beforeAll(async () => {
    server = createServer((request, response) => {
      const path = request.url ?? ''
      asked.push(`${path} ${request.headers.authorization ?? ''}`.trim())
      const body = pages.get(path)
      response.statusCode = body ? 200 : 404
      response.end(body)
    }).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    folder = await mkdtemp(join(tmpdir(), 'sources-'))
  })
  afterAll(async () => {
    await downloads.close()
    server.close()
    await rm(folder, { recursive: true, force: true })
  })

  const into = (): Promise<string> => mkdtemp(join(folder, 'in-'))
  const archive = Buffer.from('an archive')
  const maven: MavenSource = { kind: 'maven', group: 'org.example', artifact: 'server', type: 'tar.gz', executable: [] }

  it('maven: lists versions, takes the strongest checksum there is, and refuses a wrong one', async () => {
    const root = '/m2/org/example/server'
    pages.set(`${root}/maven-metadata.xml`, Buffer.from('<versions><version>9.0.1</version><version>10.1.2</version></versions>'))
    pages.set(`${root}/10.1.2/server-10.1.2.tar.gz`, archive)
    pages.set(`${root}/10.1.2/server-10.1.2.tar.gz.sha1`, Buffer.from(digest('sha1', archive)))
    const withUser = base.replace('//', '//user:secret@')
    const client = new MavenClient(new VersionLists(join(folder, 'lists')), downloads, () => Promise.resolve(`${withUser}/m2`))
    expect(await client.versions(maven)).toHaveLength(2)
    expect(asked.at(-1)).toContain('Basic ')
    const published = { version: '10.1.2', name: '10.1.2' }
    const found = await client.download(maven, published, await into())
    expect(found).toMatchObject({ format: 'tar', checksum: `sha1:${digest('sha1', archive)}` })
    expect(await readFile(found.path)).toEqual(archive)
    pages.set(`${root}/10.1.2/server-10.1.2.tar.gz.sha512`, Buffer.from('00'))
    await expect(client.download(maven, published, await into())).rejects.toThrow(/does not have the checksum/)
    await expect(client.download(maven, { version: '9.0.1', name: '9.0.1' }, await into())).rejects.toThrow(/answered 404/)
  })

  it('gomod: goes from proxy to proxy, and checks against the checksum database', async () => {
    const source: GomodSource = {
      kind: 'gomod',
      module: 'example.org/Tool',
      moduleVersion: 'v0.0.1-go{version}.linux-{arch}',
      arch: { x64: 'amd64' },
      versions: ['1.24.6'],
      executable: [],
    }
    const zip = new yazl.ZipFile()
    zip.addBuffer(Buffer.from('go'), 'example.org/Tool@v0.0.1-go1.24.6.linux-amd64/bin/go')
    zip.end()
    const path = join(folder, 'module.zip')
    await pipeline(zip.outputStream, createWriteStream(path))
    const checksum = await hashOfZip(path)
    const name = 'v0.0.1-go1.24.6.linux-amd64'
    pages.set(`/two/example.org/!tool/@v/${name}.zip`, await readFile(path))
    const lookup = `/two/sumdb/sums.example/lookup/example.org/!tool@${name}`
    pages.set(lookup, Buffer.from(`1\nexample.org/Tool ${name} ${checksum}\n`))
    const settings = { GOPROXY: `${base}/one,${base}/two,direct`, GOSUMDB: 'sums.example' }
    const client = new GomodClient(downloads, 'x64', () => Promise.resolve(settings))
    const published = { version: '1.24.6', name: '1.24.6' }
    const found = await client.download(source, published, await into())
    expect(found).toMatchObject({ checksum, root: `example.org/Tool@${name}` })
    pages.set(lookup, Buffer.from(`1\nexample.org/Tool ${name} h1:other\n`))
    await expect(client.download(source, published, await into())).rejects.toThrow(/does not have the checksum/)
    const unset = new GomodClient(downloads, 'x64', () => Promise.resolve({}))
    await expect(unset.versions(source)).rejects.toThrow(/set GOPROXY/)
    const other = new GomodClient(downloads, 'arm64', () => Promise.resolve(settings))
    await expect(other.download(source, published, await into())).rejects.toThrow(/not offered for the architecture arm64/)
  })

  it('url: by versions in the manifest, and by a vendor’s list of releases', async () => {
    pages.set('/files/tool-1.2.3-x86.tar.gz', archive)
    const plain: UrlSource = {
      kind: 'url',
      uri: `${base}/files/tool-{version}-{arch}.tar.gz`,
      type: 'tar.gz',
      arch: { x64: 'x86' },
      versions: { '1.2.3': digest('sha256', archive) },
      executable: [],
    }
    const client = new UrlClient(downloads, 'x64')
    const [published] = await client.versions(plain)
    expect(await client.download(plain, published!, await into())).toMatchObject({
      checksum: `sha256:${digest('sha256', archive)}`,
    })
    const releases = {
      releases: [
        {
          sdk: {
            version: '8.0.1',
            files: [
              { name: 'tool-linux-x86.tar.gz', url: `${base}/files/tool-1.2.3-x86.tar.gz`, hash: digest('sha512', archive) },
            ],
          },
        },
        { sdk: { version: '8.0.0', files: [] } },
      ],
    }
    pages.set('/releases.json', Buffer.from(JSON.stringify(releases)))
    const listed: UrlSource = {
      kind: 'url',
      uri: base,
      type: 'tar.gz',
      arch: { x64: 'x86' },
      index: {
        uri: `${base}/releases.json`,
        releases: ['releases', '*', 'sdk'],
        version: 'version',
        files: ['files', '*'],
        name: 'name',
        address: 'url',
        checksum: 'hash',
        file: 'tool-linux-{arch}.tar.gz',
      },
      executable: [],
    }
    const versions = await client.versions(listed)
    expect(versions.map(({ version }) => version)).toEqual(['8.0.1'])
    expect(await client.download(listed, versions[0]!, await into())).toMatchObject({
      checksum: `sha512:${digest('sha512', archive)}`,
    })
  })
})
