import type { FastifyRequest } from 'fastify'
import type { ApiSettings } from '../settings.js'

/** Links repeat the request's scheme, host and port only if the host is one of ours; else they name the public address. The router tells the scheme. */
export function baseUrlOf(request: FastifyRequest, settings: ApiSettings): string {
  const host = request.host.toLowerCase()
  const name = host.replace(/:\d+$/, '')
  if (!settings.apiHosts.has(name)) return settings.publicApiUrl
  return `${request.protocol === 'https' ? 'https' : 'http'}://${host}`
}

/** Where login, users and logs are to be found: names of their own beside `api.`, and the same address wherever else the API answers. */
export function hostsOf(request: FastifyRequest, settings: ApiSettings): { login: string; uaa: string; logCache: string } {
  const base = request.baseUrl
  const api = `://api.${settings.systemDomain}`
  const named = (name: string): string =>
    `${base}/`.includes(`${api}:`) || `${base}/`.includes(`${api}/`)
      ? base.replace(api, `://${name}.${settings.systemDomain}`)
      : base
  return { login: named('login'), uaa: named('uaa'), logCache: named('log-cache') }
}
