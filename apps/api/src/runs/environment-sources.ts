import { bindingDelivery, bindingFiles, type AppIdentity, type BindingDelivery, type BoundService } from '@bloomery/domain'
import type { Database, Transaction } from '@bloomery/database'
import { z } from 'zod'
import type { Context } from '../http/context.js'
import { unprocessable } from '../http/errors.js'
import type { AppInSpace } from '../resources/apps/find-app.js'
import { isMade } from '../service-bindings/bound-instance.js'
import { routeUrl } from '../resources/routes/presenter.js'

export const StringMap = z.record(z.string(), z.string())
export const Credentials = z.record(z.string(), z.unknown())
type Storage = Database | Transaction
type Keys = Pick<Context, 'keyring'>

/** Where secrets are bound to, so that none decrypts in another's place. */
export const variablesContext = (appGuid: string): string => `app:${appGuid}`
export const groupContext = (name: 'running' | 'staging'): string => `environment_variable_group:${name}`
export const instanceCredentialsContext = (guid: string): string => `service-instance:${guid}`
export const specFilesContext = (guid: string): string => `spec-files:${guid}`
export const buildFilesContext = (guid: string): string => `build-files:${guid}`
export const bindingCredentialsContext = (guid: string): string => `credential-binding:${guid}`

export const readAppVariables = ({ keyring }: Keys, app: Pick<AppInSpace, 'guid' | 'environmentVariablesEncrypted'>) =>
  app.environmentVariablesEncrypted === null
    ? {}
    : keyring.decryptJson(app.environmentVariablesEncrypted, variablesContext(app.guid), StringMap)

export async function readEnvironmentGroup(
  on: Storage,
  { keyring }: Keys,
  name: 'running' | 'staging',
): Promise<Record<string, string>> {
  const group = await on.environmentVariableGroup.findUnique({ where: { name } })
  return group?.varEncrypted == null ? {} : keyring.decryptJson(group.varEncrypted, groupContext(name), StringMap)
}

export async function readBoundServices(on: Storage, { keyring }: Keys, appGuid: string): Promise<BoundService[]> {
  const bindings = await on.credentialBinding.findMany({
    where: { appGuid, type: 'app' },
    include: { serviceInstance: { include: { plan: { include: { offering: true } } } } },
    orderBy: [{ createdAt: 'asc' }, { guid: 'asc' }],
  })
  return bindings
    .filter((binding) => isMade(binding.lastOperation))
    .map(({ serviceInstance: instance, ...binding }) => ({
      label: instance.plan?.offering.name ?? 'user-provided',
      plan: instance.plan?.name ?? null,
      tags: [...(instance.plan?.offering.tags ?? []), ...instance.tags],
      instanceGuid: instance.guid,
      instanceName: instance.name,
      bindingGuid: binding.guid,
      bindingName: binding.name,
      credentials:
        binding.credentialsEncrypted !== null
          ? keyring.decryptJson(binding.credentialsEncrypted, bindingCredentialsContext(binding.guid), Credentials)
          : instance.credentialsEncrypted !== null
            ? keyring.decryptJson(instance.credentialsEncrypted, instanceCredentialsContext(instance.guid), Credentials)
            : {},
      syslogDrainUrl: binding.syslogDrainUrl ?? instance.syslogDrainUrl,
      volumeMounts: binding.volumeMounts as unknown[],
      createdAt: binding.createdAt,
    }))
}

export async function identifyApp(on: Storage, { settings }: Pick<Context, 'settings'>, app: AppInSpace): Promise<AppIdentity> {
  const routes = await on.route.findMany({
    where: { destinations: { some: { appGuid: app.guid } } },
    include: { domain: true },
    orderBy: { createdAt: 'asc' },
  })
  return {
    cfApi: settings.publicApiUrl,
    guid: app.guid,
    name: app.name,
    spaceGuid: app.spaceGuid,
    spaceName: app.space.name,
    organizationGuid: app.space.organizationGuid,
    organizationName: app.space.organization.name,
    uris: routes.map((route) => routeUrl(route, route.domain)),
  }
}

/** All that environments of this app are made of. */
export async function readEnvironmentSources(
  on: Storage,
  context: Pick<Context, 'keyring' | 'settings'>,
  app: AppInSpace,
  group: 'running' | 'staging',
) {
  return {
    app: await identifyApp(on, context, app),
    group: await readEnvironmentGroup(on, context, group),
    appVariables: readAppVariables(context, app),
    bindings: await readBoundServices(on, context, app.guid),
    delivery: bindingDelivery(app),
  }
}

/** The files of an app's bindings, where it gets them so; 422 where they cannot be made. */
export function requireBindingFiles({
  bindings,
  delivery,
}: {
  readonly bindings: readonly BoundService[]
  readonly delivery: BindingDelivery
}): Readonly<Record<string, string>> | undefined {
  const files = bindingFiles(bindings, delivery)
  if (typeof files === 'string') throw unprocessable(`Cannot build service binding files for app - ${files}`)
  return files
}
