import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { SecretFiles } from '@bloomery/containers'
import { silentLogger } from '@bloomery/telemetry'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import type { InstancePair } from './instance-certificates.js'
import { InstanceIdentities } from './instance-identities.js'

const aPair = (name: string): InstancePair => ({
  certificatePem: `${name} cert\n`,
  privateKeyPem: `${name} key\n`,
  authorityPem: 'authority\n',
})

let pairs: Map<string, InstancePair | Error>
let kept: ReadonlySet<string> | undefined
let written: { name: string; files: SecretFiles['files'] }[]
let identities: InstanceIdentities
async function certificateOf(guid: string): Promise<InstancePair> {
  const found = pairs.get(guid)
  if (found instanceof Error) throw found
  if (found) return found
  // An api that has been asked, and says nothing.
  await delay(60_000, undefined, { ref: false })
  throw new Error('nobody waits that long')
}
let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bloomery-identities-'))
  pairs = new Map()
  written = []
  identities = new InstanceIdentities({
    certificates: {
      get: (guid) => certificateOf(guid),
      renewed: (guid) => certificateOf(guid),
      keepOnly: async (guids) => void (kept = guids),
    },
    engine: {
      updateSecretFiles: async (name, { files }) => {
        written.push({ name, files })
        return true
      },
    },
    authorityFile: join(folder, 'authority.crt'),
    log: silentLogger,
    patienceMs: 20,
  })
  await identities.prepare()
})
afterEach(() => rm(folder, { recursive: true }))

describe('identities of instances', () => {
  it('are files with the certificate, its authority behind it, and the key', async () => {
    pairs.set('one', aPair('first'))
    const pair = await identities.obtain('one', '10.0.0.1')
    if (pair) await identities.place('one', pair)
    expect(written).toEqual([
      { name: 'one', files: { 'instance.key': 'first key\n', 'instance.crt': 'first cert\nauthority\n' } },
    ])
    expect(await readFile(join(folder, 'authority.crt'), 'utf8')).toBe('authority\n')
    expect(identities.environment).toEqual({
      CF_INSTANCE_CERT: '/etc/cf-instance-credentials/instance.crt',
      CF_INSTANCE_KEY: '/etc/cf-instance-credentials/instance.key',
    })
  })

  it.each([
    ['refuses', new Error('no such instance')],
    ['does not answer', undefined],
  ])('do not hold up a start where the api %s, and come later', async (_case, failure) => {
    if (failure) pairs.set('one', failure)
    expect(await identities.obtain('one', '10.0.0.1')).toBeUndefined()
    expect(written).toEqual([])
    pairs.set('one', aPair('late'))
    await identities.refresh(['one'])
    expect(written).toHaveLength(1)
  })

  it('are written when they have changed, by a new agent once, and into a container that is made anew', async () => {
    pairs.set('one', aPair('first'))
    await identities.refresh(['one'])
    await identities.refresh(['one'])
    expect(written).toHaveLength(1)
    pairs.set('one', aPair('second'))
    await identities.refresh(['one'])
    expect(written.at(-1)?.files['instance.key']).toBe('second key\n')
    const again = await identities.obtain('one', '10.0.0.1')
    if (again) await identities.place('one', again)
    expect(written).toHaveLength(3)
  })

  it('of one that fails do not keep others from theirs; those of instances that are gone are forgotten', async () => {
    pairs.set('broken', new Error('refused'))
    pairs.set('good', aPair('good'))
    await identities.refresh(['broken', 'good'])
    expect(written.map(({ name }) => name)).toEqual(['good'])
    expect(kept).toEqual(new Set(['broken', 'good']))
  })
})
