import { ClientError } from '@bloomery/client'

/** The deployment's strategy, where one is asked for. */
export function checkStrategy(flags: { readonly strategy?: string; readonly maxInFlight?: number }): string | undefined {
  const { strategy, maxInFlight } = flags
  const chosen = strategy === 'null' ? undefined : strategy
  if (chosen !== undefined && chosen !== 'rolling' && chosen !== 'canary')
    throw new ClientError('bad-argument', `'${chosen}' is no deployment strategy; --strategy takes rolling or canary.`)
  if (maxInFlight !== undefined && chosen === undefined)
    throw new ClientError('bad-argument', '--max-in-flight is for deployments; give --strategy with it.')
  if (maxInFlight === 0) throw new ClientError('bad-argument', '--max-in-flight must be at least 1.')
  return chosen
}
