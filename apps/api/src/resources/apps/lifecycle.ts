import type { Database, Transaction } from '@bloomery/database'
import { isBuildpackAddress } from '@bloomery/domain'
import { z } from 'zod'
import { unprocessable } from '../../http/errors.js'

/** As the client sends it; what is not there stays, null goes back to the default. */
export const LifecycleInput = z.object({
  type: z.string().optional(),
  data: z
    .object({
      buildpacks: z.array(z.string('must be a list of names')).nullish(),
      stack: z.string().nullish(),
      credentials: z.unknown().optional(),
    })
    .nullish(),
})
export type LifecycleInput = z.infer<typeof LifecycleInput>

/** Column values of an app's lifecycle after a change; refuses what can't be staged here. `isNew`: restricted stacks are for older apps. */
export async function applyLifecycle(
  on: Database | Transaction,
  input: LifecycleInput | undefined,
  isNew: boolean,
): Promise<{ buildpacks?: string[]; stack?: string }> {
  const type = input?.type ?? 'buildpack'
  if (type === 'docker')
    throw unprocessable(
      'Docker images cannot be run by this platform. Push the source instead: a buildpack makes a droplet of it.',
    )
  if (type === 'cnb') throw unprocessable("The lifecycle type 'cnb' is not available on this platform; use 'buildpack'.")
  if (type !== 'buildpack') throw unprocessable("Lifecycle type must be one of: 'buildpack', 'docker', 'cnb'")
  const data = input?.data ?? {}
  const stack = await resolveStack(on, data.stack, isNew)
  const buildpacks = data.buildpacks === undefined ? undefined : (data.buildpacks ?? [])
  if (buildpacks) await requireBuildpacks(on, buildpacks)
  return { ...(buildpacks ? { buildpacks } : {}), ...(stack === undefined ? {} : { stack }) }
}

async function resolveStack(
  on: Database | Transaction,
  name: string | null | undefined,
  isNew: boolean,
): Promise<string | undefined> {
  if (name === undefined && !isNew) return undefined
  const stack = await on.stack.findFirst({ where: name == null ? { isDefault: true } : { name } })
  if (!stack) {
    const known = await on.stack.findMany({ select: { name: true }, orderBy: { name: 'asc' } })
    throw unprocessable(
      name == null
        ? 'This platform has no default stack; name one.'
        : `Stack must be an existing stack; '${name}' is none of: ${known.map((each) => each.name).join(', ')}`,
    )
  }
  if (stack.state === 'DISABLED' || (isNew && stack.state === 'RESTRICTED'))
    throw unprocessable(
      `The stack '${stack.name}' is ${stack.state.toLowerCase()} and cannot be used for ${stack.state === 'DISABLED' ? 'staging' : 'new apps'}.${stack.stateReason ? ` ${stack.stateReason}` : ''}`,
    )
  return stack.name
}

/** Names must be those of enabled buildpacks; everything else must be an address that can be fetched. */
export async function requireBuildpacks(on: Database | Transaction, names: readonly string[]): Promise<void> {
  const plain = names.filter((name) => !isBuildpackAddress(name))
  if (plain.length === 0) return
  const known = await on.buildpack.findMany({ where: { name: { in: plain }, enabled: true }, select: { name: true } })
  const unknown = plain.find((name) => !known.some((each) => each.name === name))
  if (unknown !== undefined) throw unprocessable(`Buildpack "${unknown}" must be an existing admin buildpack or a valid git URI`)
}
