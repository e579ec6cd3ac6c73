import { createHash, randomUUID } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import { ZipFile } from 'yazl'
import type { Answer, Caller, Json, TestApi } from '../testing.fixture.js'

export type Files = Readonly<Record<string, string>>
export const sha1 = (text: string | Buffer): string => createHash('sha1').update(text).digest('hex')

export async function zipOf(files: Files): Promise<Buffer> {
  const zip = new ZipFile()
  for (const [path, content] of Object.entries(files))
    if (path.endsWith('/')) zip.addEmptyDirectory(path)
    else zip.addBuffer(Buffer.from(content), path, { mode: 0o100644 })
  zip.end()
  return buffer(zip.outputStream)
}

export type Part =
  { readonly name: string; readonly text: string } | { readonly name: string; readonly bytes: Buffer; readonly filename: string }
const BOUNDARY = 'boundary-of-the-tests'

/** A multipart body as the client writes it. */
export function multipart(parts: readonly Part[]): { body: Buffer; headers: Record<string, string> } {
  const chunks = parts.flatMap((part) => [
    `--${BOUNDARY}\r\n`,
    'bytes' in part
      ? `Content-Disposition: form-data; name="${part.name}"; filename="${part.filename}"\r\nContent-Type: application/octet-stream\r\n\r\n`
      : `Content-Disposition: form-data; name="${part.name}"\r\n\r\n`,
    'bytes' in part ? part.bytes : part.text,
    '\r\n',
  ])
  const body = Buffer.concat([...chunks, `--${BOUNDARY}--\r\n`].map((chunk) => Buffer.from(chunk)))
  return { body, headers: { 'content-type': `multipart/form-data; boundary=${BOUNDARY}` } }
}

export const toApp = (guid: string) => ({ app: { data: { guid } } })

export async function createApp(caller: Caller, spaceGuid: string, name = `app-${randomUUID().slice(0, 8)}`): Promise<Json> {
  const created = await caller.post('/v3/apps', { name, relationships: { space: { data: { guid: spaceGuid } } } })
  if (created.status !== 201) throw new Error(created.text)
  return created.body
}

export async function createPackage(caller: Caller, appGuid: string): Promise<string> {
  const created = await caller.post('/v3/packages', { type: 'bits', relationships: toApp(appGuid) })
  if (created.status !== 201) throw new Error(created.text)
  return created.body.guid
}

export async function uploadBits(
  caller: Caller,
  packageGuid: string,
  files: Files | Buffer,
  resources: readonly unknown[] = [],
): Promise<Answer> {
  const bytes = Buffer.isBuffer(files) ? files : await zipOf(files)
  const { body, headers } = multipart([
    { name: 'resources', text: JSON.stringify(resources) },
    { name: 'bits', bytes, filename: 'package.zip' },
  ])
  return caller.post(`/v3/packages/${packageGuid}/upload`, body, headers)
}

/** What a stager leaves behind: a staged droplet and a finished build. */
export async function finishBuild(
  { context }: TestApi,
  buildGuid: string,
  processTypes: Record<string, string> = { web: 'node server.js' },
): Promise<string> {
  const { db } = context
  const guid = randomUUID()
  const build = await db.build.findUniqueOrThrow({ where: { guid: buildGuid } })
  await db.$transaction([
    db.droplet.create({
      data: {
        guid,
        appGuid: build.appGuid,
        packageGuid: build.packageGuid,
        buildGuid,
        state: 'STAGED',
        stack: build.stack,
        sha256: createHash('sha256').update(guid).digest('hex'),
        sizeBytes: 1n,
        blobKey: `droplets/${guid}`,
        processTypes,
        buildpacks: [{ name: 'nodejs_buildpack', detect_output: 'nodejs', version: '1.0.0', buildpack_name: 'nodejs' }],
      },
    }),
    db.build.update({ where: { guid: buildGuid }, data: { state: 'STAGED', dropletGuid: guid } }),
  ])
  context.changes.announce('build', buildGuid)
  return guid
}

/** An app with a package, a droplet that is its current one, and what `start` makes of it. */
export async function pushApp(
  api: TestApi,
  caller: Caller,
  spaceGuid: string,
  options: { readonly start?: boolean; readonly name?: string; readonly processTypes?: Record<string, string> } = {},
): Promise<{ guid: string; name: string; packageGuid: string; dropletGuid: string }> {
  const app = await createApp(caller, spaceGuid, options.name)
  const packageGuid = await createPackage(caller, app.guid)
  const uploaded = await uploadBits(caller, packageGuid, { 'server.js': `// ${app.guid}` })
  if (uploaded.status !== 200) throw new Error(uploaded.text)
  const build = await caller.post('/v3/builds', { package: { guid: packageGuid } })
  if (build.status !== 201) throw new Error(build.text)
  const dropletGuid = await finishBuild(api, build.body.guid, options.processTypes)
  const set = await caller.patch(`/v3/apps/${app.guid}/relationships/current_droplet`, { data: { guid: dropletGuid } })
  if (set.status !== 200) throw new Error(set.text)
  if (options.start !== false) {
    const started = await caller.post(`/v3/apps/${app.guid}/actions/start`)
    if (started.status !== 200) throw new Error(started.text)
  }
  return { guid: app.guid, name: app.name, packageGuid, dropletGuid }
}

/** What a cell reports of an instance that runs. */
export async function runInstances({ context }: TestApi, processGuid: string, count: number): Promise<void> {
  const { db } = context
  const process = await db.process.findUniqueOrThrow({ where: { guid: processGuid } })
  const spec = await db.runSpec.findUniqueOrThrow({ where: { guid: process.currentSpecGuid ?? '' } })
  await db.actualInstance.deleteMany({ where: { processGuid } })
  await db.actualInstance.createMany({
    data: Array.from({ length: count }, (_none, index) => ({
      processGuid,
      specVersion: spec.version,
      index,
      appGuid: process.appGuid,
      processType: process.type,
      specGuid: spec.guid,
      instanceGuid: `00000000-0000-0000-0000-000${index}`,
      cellId: 'cell-1',
      state: 'running',
      routable: true,
      endpoint: { address: '10.0.0.2', hostAddress: '127.0.0.1', ports: [{ internal: 8080, external: 61001 }] },
      memoryMb: process.memoryMb,
      diskMb: process.diskMb,
    })),
  })
  context.changes.announce('process', processGuid)
}
