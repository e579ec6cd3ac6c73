import type { FastifyInstance } from 'fastify'
import type { Context } from '../../http/context.js'
import { hostsOf } from '../../http/base-url.js'
import { notAuthorized } from '../../http/permissions.js'
import { usageOfSpaces } from '../usage.js'

const RESOURCES = [
  'apps',
  'audit_events',
  'buildpacks',
  'builds',
  'deployments',
  'domains',
  'droplets',
  'environment_variable_groups',
  'feature_flags',
  'isolation_segments',
  'organizations',
  'organization_quotas',
  'packages',
  'processes',
  'roles',
  'routes',
  'security_groups',
  'service_brokers',
  'service_credential_bindings',
  'service_instances',
  'service_offerings',
  'service_plans',
  'service_route_bindings',
  'space_quotas',
  'spaces',
  'stacks',
  'users',
] as const

/** Where everything is: the first thing that every client asks. */
export function rootRoutes(app: FastifyInstance, { settings, pool }: Context): void {
  const open = { config: { permission: 'public' } } as const

  app.get('/', open, async (request) => {
    const base = request.baseUrl
    const { login, uaa, logCache } = hostsOf(request, settings)
    return {
      links: {
        self: { href: base },
        cloud_controller_v2: null,
        cloud_controller_v3: { href: `${base}/v3`, meta: { version: settings.apiVersion } },
        network_policy_v0: { href: `${base}/networking/v0/external` },
        network_policy_v1: { href: `${base}/networking/v1/external` },
        login: { href: login },
        uaa: { href: uaa },
        credhub: null,
        routing: { href: `${base}/routing` },
        logging: null,
        log_cache: { href: logCache },
        log_stream: null,
        app_ssh: {
          href: `${new URL(base).hostname}:${settings.sshPort}`,
          // No key: clients go on to ask for a code then, and are told in words that there is no ssh.
          meta: { host_key_fingerprint: 'none', oauth_client: 'ssh-proxy' },
        },
      },
    }
  })

  app.get('/v3', open, async (request) => ({
    links: {
      self: { href: `${request.baseUrl}/v3` },
      ...Object.fromEntries(RESOURCES.map((name) => [name, { href: `${request.baseUrl}/v3/${name}` }])),
    },
  }))

  app.get('/v3/info', open, async (request) => ({
    build: '',
    cli_version: { minimum: '', recommended: '' },
    custom: {},
    description: 'Bloomery, a self-hosted platform that speaks Cloud Foundry’s API',
    name: 'bloomery',
    version: 1,
    osbapi_version: '2.17',
    rate_limits: { enabled: false, general_limit: 0, reset_interval_in_minutes: 0 },
    links: { self: { href: `${request.baseUrl}/v3/info` }, support: { href: '' } },
  }))

  app.get('/v3/info/usage_summary', { config: { permission: 'admin.read' } }, async (request) => {
    if (!request.access.isGlobalReader) throw notAuthorized()
    return {
      usage_summary: await usageOfSpaces(pool, {}),
      links: { self: { href: `${request.baseUrl}/v3/info/usage_summary` } },
    }
  })
}
