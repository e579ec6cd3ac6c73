import { ApiError, ClientError, openClient, type Organization, type Space } from '@bloomery/client'
import { findManifest, mergeFlags, push, readManifest } from '@bloomery/client/push'

// A program of its own, so that the launcher need not carry the client in memory. Prints what it is doing, a line each.
const required = (name: string): string => {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is not set`)
  return value
}
async function pushSample(): Promise<void> {
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
}

try {
  await pushSample()
  process.exit(0)
} catch (error) {
  // Errors of the client and of the API are meant for people; of anything else all is shown.
  console.log(error instanceof ApiError || error instanceof ClientError ? error.message : error)
  process.exit(1)
}
