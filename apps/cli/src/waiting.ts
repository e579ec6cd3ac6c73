import { ClientError, type InstanceStats } from '@bloomery/client'
import type { Context } from './context.js'
import type { Terminal } from './terminal.js'

const MINUTE_MS = 60_000
/** How often those who watch no terminal are told. */
const TOLD_EVERY_MS = 10_000

/** How long staging may take, as BLOOM_STAGING_TIMEOUT says. */
export function stagingOptions({ surroundings }: Context): { readonly timeoutMs?: number } {
  return minutesFrom(surroundings.env, 'BLOOM_STAGING_TIMEOUT')
}

/** How long instances may take to start, as BLOOM_STARTUP_TIMEOUT says, and what to show meanwhile. */
export function startOptions(context: Context) {
  return { ...minutesFrom(context.surroundings.env, 'BLOOM_STARTUP_TIMEOUT'), onInstances: instanceTeller(context.terminal) }
}

export const showStagingLine = (terminal: Terminal, text: string): void => terminal.line(`   ${text}`)

export function instanceTeller(terminal: Terminal): (processType: string, instances: readonly InstanceStats[]) => void {
  let told = 0
  let details: string | undefined
  return (processType, instances) => {
    const running = instances.filter(({ state }) => state === 'RUNNING').length
    if (instances.length === 0) return
    terminal.progress(`Instances starting... ${processType}: ${running} of ${instances.length} running`)
    const reason = instances.find((each) => each.details)?.details
    if (reason && reason !== details) terminal.line(`Error starting instances: '${reason}'`)
    details = reason ?? details
    if (running > 0 || terminal.interactive || Date.now() - told < TOLD_EVERY_MS) return
    told = Date.now()
    terminal.line('Instances starting...')
  }
}

function minutesFrom(env: NodeJS.ProcessEnv, name: string): { readonly timeoutMs?: number } {
  const text = env[name]
  if (!text) return {}
  const minutes = Number(text)
  if (!Number.isFinite(minutes) || minutes <= 0)
    throw new ClientError('bad-argument', `${name} must be a number of minutes, such as 5 or 0.5, not '${text}'.`)
  return { timeoutMs: minutes * MINUTE_MS }
}
