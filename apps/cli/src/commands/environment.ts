import type { AppEnvironment } from '@bloomery/client'
import type { Context } from '../context.js'

export async function showEnvironment(context: Context, name: string): Promise<void> {
  const { client, terminal } = context
  const app = await context.app(name)
  context.announce(`Getting env variables for app ${terminal.name(name)}`)
  const env = await client.get<AppEnvironment>(`/v3/apps/${app.guid}/env`)
  const show = (title: string, what: string, values: Readonly<Record<string, unknown>> | null, indent = 0): void => {
    const entries = Object.entries(values ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))
    if (entries.length === 0) return terminal.line(`No ${what} env variables have been set\n`)
    terminal.line(terminal.style('bold', `${title}:`))
    for (const [key, value] of entries)
      terminal.line(`${key}: ${typeof value === 'string' ? value : JSON.stringify(value, null, indent)}`)
    terminal.line()
  }
  show('System-Provided', 'system-provided', { ...env.system_env_json, ...env.application_env_json }, 2)
  show('User-Provided', 'user-provided', env.environment_variables)
  show('Running Environment Variable Groups', 'running', env.running_env_json)
  show('Staging Environment Variable Groups', 'staging', env.staging_env_json)
}

export async function setVariable(context: Context, name: string, variable: string, value: string): Promise<void> {
  const app = await context.app(name)
  const { client, terminal } = context
  context.announce(`Setting env variable ${terminal.name(variable)} for app ${terminal.name(name)}`)
  await client.patch(`/v3/apps/${app.guid}/environment_variables`, { var: { [variable]: value } })
  finish(context, name)
}

export async function unsetVariable(context: Context, name: string, variable: string): Promise<void> {
  const app = await context.app(name)
  const { client, terminal } = context
  context.announce(`Removing env variable ${terminal.name(variable)} from app ${terminal.name(name)}`)
  const { environment_variables: present } = await client.get<AppEnvironment>(`/v3/apps/${app.guid}/env`)
  if (present?.[variable] === undefined) {
    terminal.line(`Env variable ${variable} was not set.`)
    return terminal.ok()
  }
  await client.patch(`/v3/apps/${app.guid}/environment_variables`, { var: { [variable]: null } })
  finish(context, name)
}

function finish({ terminal }: Context, name: string): void {
  terminal.ok()
  terminal.line(
    `\nTIP: Use 'bloom restart ${name}' to give running instances the change, or 'bloom restage ${name}' where staging needs it.`,
  )
}
