import { type App, ClientError, deploy } from '@bloomery/client'
import type { Context } from '../context.js'
import { startOptions } from '../waiting.js'

interface Stack {
  readonly guid: string
  readonly name: string
  readonly default: boolean
}

/**
 * A stack's image is taken up when an instance starts. Restarts every started app of the stack by a rolling deployment, one app after the other,
 * so that each goes on serving; an app that does not come up keeps its old instances, and the rollout ends there.
 */
export async function stackCommand(
  context: Context,
  action: string,
  name: string | undefined,
  flags: { readonly dryRun?: boolean; readonly maxFailures?: number },
): Promise<number> {
  if (action !== 'rollout')
    throw new ClientError('bad-argument', `'${action}' is nothing that bloom does with stacks; use: bloom stack rollout [STACK]`)
  const { client, terminal } = context
  const stack = await findStack(context, name)
  const apps = (await client.list<App>('/v3/apps', { stacks: stack.name })).filter(({ state }) => state === 'STARTED')
  if (apps.length === 0) {
    terminal.line(`No started app that you may see is on stack ${stack.name}.`)
    return 0
  }
  if (flags.dryRun) {
    for (const app of apps) terminal.line(app.name)
    terminal.line(`\nWould restart ${apps.length} ${apps.length === 1 ? 'app' : 'apps'} on stack ${stack.name}.`)
    return 0
  }
  return rollOut(context, stack, apps, flags.maxFailures ?? 0)
}

async function rollOut(context: Context, stack: Stack, apps: readonly App[], maxFailures: number): Promise<number> {
  const { client, terminal } = context
  const failed: string[] = []
  for (const [i, app] of apps.entries()) {
    terminal.line(`[${i + 1}/${apps.length}] ${terminal.name(app.name)}...`)
    try {
      await deploy(client, app.guid, { strategy: 'rolling', ...startOptions(context) })
    } catch (error) {
      if (!(error instanceof ClientError)) throw error
      failed.push(app.name)
      terminal.warn(`${app.name}: ${error.message}`)
      if (failed.length <= maxFailures) continue
      const left = apps.length - i - 1
      terminal.failed()
      terminal.warn(
        `The rollout of ${stack.name} ends here: ${failed.join(', ')} did not come up, ${left} more ${left === 1 ? 'app is' : 'apps are'} as before. ` +
          'Find out why (bloom logs APP --recent), then roll out again.',
      )
      return 1
    }
  }
  terminal.ok()
  return failed.length === 0 ? 0 : 1
}

async function findStack({ client }: Context, name: string | undefined): Promise<Stack> {
  const stacks = await client.list<Stack>('/v3/stacks', name === undefined ? {} : { names: [name] })
  const found = name === undefined ? stacks.find((each) => each.default) : stacks[0]
  if (found) return found
  throw new ClientError(
    'not-found',
    name === undefined
      ? 'This platform has no default stack; name one.'
      : `Stack '${name}' not found. See: bloom curl /v3/stacks`,
  )
}
