import { findManifest, mergeFlags, openClient, push, readManifest, type Organization, type Space } from '@bloomery/client'

// A program of its own, so that the launcher need not carry the client in memory. Prints what it is doing, a line each.
const required = (name: string): string => {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is not set`)
  return value
}
const folder = required('BLOOMERY_SAMPLE_FOLDER')
const client = await openClient({
  api: required('BLOOMERY_API'),
  credentials: { kind: 'password', username: 'admin', password: required('BLOOMERY_ADMIN_PASSWORD') },
})
const [organization] = await client.list<Organization>('/v3/organizations', { names: ['bloomery'] })
const [space] = organization
  ? await client.list<Space>('/v3/spaces', { names: ['dev'], organization_guids: organization.guid })
  : []
if (!space) {
  console.log('the space bloomery / dev is gone; nothing is pushed')
} else {
  const manifest = await findManifest(folder)
  await push(client, {
    spaceGuid: space.guid,
    manifest: mergeFlags(manifest === undefined ? undefined : await readManifest(manifest), { name: 'hello-node' }),
    folder,
    onEvent: (event) => {
      if (event.kind === 'staging-line') console.log(event.line.text.slice(0, 120))
      else console.log(event.kind.replaceAll('-', ' '))
    },
  })
}
process.exit(0)
