import { createHash } from 'node:crypto'
import type { FastifyReply } from 'fastify'

const STYLE = `
:root { color-scheme: light dark; --ink: #1d2733; --dim: #5b6877; --line: #d5dce4; --paper: #fff; --ground: #eef1f5; --ember: #c2410c; --fault: #b42318 }
@media (prefers-color-scheme: dark) { :root { --ink: #e8edf3; --dim: #9aa8b8; --line: #3a4656; --paper: #1b2430; --ground: #10161e; --ember: #f0732e; --fault: #ff8a7a } }
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.5rem; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
main { width: 100%; max-width: 25rem; background: var(--paper); border: 1px solid var(--line); border-radius: 12px; padding: 2rem; box-shadow: 0 8px 30px rgb(0 0 0 / .08) }
.brand { display: flex; align-items: center; gap: .55rem; font-weight: 600; color: var(--dim); margin-bottom: 1.5rem }
.brand i { width: .8rem; height: .8rem; border-radius: 3px; background: var(--ember); transform: rotate(45deg) }
h1 { font-size: 1.35rem; line-height: 1.3; margin: 0 0 .4rem }
p { margin: 0 0 1.25rem; color: var(--dim) }
b { color: var(--ink); overflow-wrap: anywhere }
label { display: block; font-size: .9rem; font-weight: 600; margin-bottom: 1rem }
input { display: block; width: 100%; margin-top: .3rem; padding: .6rem .7rem; font: inherit; color: inherit; background: var(--ground); border: 1px solid var(--line); border-radius: 8px }
input:focus-visible, button:focus-visible { outline: 2px solid var(--ember); outline-offset: 1px }
ul { margin: 0 0 1.5rem; padding: .9rem 1rem .9rem 2rem; border: 1px solid var(--line); border-radius: 8px }
button { width: 100%; padding: .65rem; font: inherit; font-weight: 600; border-radius: 8px; border: 1px solid var(--ember); background: var(--ember); color: #fff; cursor: pointer }
button.quiet { margin-top: .6rem; background: none; color: inherit; border-color: var(--line) }
.fault { color: var(--fault); border-left: 3px solid var(--fault); padding-left: .7rem }
`
const STYLE_HASH = createHash('sha256').update(STYLE).digest('base64')

/** Who asks: a dashboard, and the broker it belongs to. */
export interface Asking {
  readonly clientId: string
  readonly brokerName: string | undefined
}

/** What is to be sent on with a form: the request that led to the page. */
type Hidden = Readonly<Record<string, string>>

export const loginPage = (
  asking: Asking,
  hidden: Hidden,
  faults: { readonly message?: string; readonly username?: string },
): string =>
  page(
    'Sign in',
    `<h1>Sign in</h1>
<p>${describe(asking)} wants to know who you are.</p>
${faults.message === undefined ? '' : `<p class="fault" role="alert">${escape(faults.message)}</p>`}
<form method="post" action="/oauth/authorize">
${inputs({ ...hidden, act: 'login' })}
<label>User name<input name="username" autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus value="${escape(faults.username ?? '')}"></label>
<label>Password<input name="password" type="password" autocomplete="current-password" required></label>
<button type="submit">Sign in</button>
</form>`,
  )

const MEANINGS: Readonly<Record<string, string>> = {
  openid: 'see your user name and e-mail address',
  'cloud_controller_service_permissions.read': 'see whether you may read or manage its service instances',
}

export const consentPage = (asking: Asking, hidden: Hidden, username: string, scopes: readonly string[]): string =>
  page(
    'Allow access',
    `<h1>Allow access?</h1>
<p>You are signed in as <b>${escape(username)}</b>. ${describe(asking)} wants to</p>
<ul>${scopes.map((scope) => `<li>${escape(MEANINGS[scope] ?? `use your right ${scope}`)}</li>`).join('')}</ul>
<form method="post" action="/oauth/authorize">
${inputs(hidden)}
<button type="submit" name="act" value="allow">Allow</button>
<button type="submit" name="act" value="deny" class="quiet" formnovalidate>Deny</button>
<button type="submit" name="act" value="leave" class="quiet" formnovalidate>Sign in as somebody else</button>
</form>`,
  )

export const faultPage = (message: string): string =>
  page('Sign-in failed', `<h1>This does not work</h1>\n<p class="fault" role="alert">${escape(message)}</p>`)

export const goodbyePage = (): string =>
  page('Signed out', '<h1>You are signed out</h1>\n<p>This browser is not signed in any more.</p>')

/**
 * Sends a page that no other can frame, and that loads and runs nothing. Its forms go to the platform, and the answer leads on to a
 * dashboard, which may lead anywhere.
 */
export const sendPage = (reply: FastifyReply, status: number, html: string): FastifyReply =>
  reply
    .code(status)
    .header('content-type', 'text/html; charset=utf-8')
    .header('cache-control', 'no-store')
    .header('x-frame-options', 'DENY')
    .header('x-content-type-options', 'nosniff')
    // Addresses are nobody else's business; but our own forms say that they are ours.
    .header('referrer-policy', 'same-origin')
    .header(
      'content-security-policy',
      `default-src 'none'; style-src 'sha256-${STYLE_HASH}'; form-action 'self' https: http:; frame-ancestors 'none'; base-uri 'none'`,
    )
    .send(html)

const describe = ({ clientId, brokerName }: Asking): string =>
  brokerName === undefined
    ? `<b>${escape(clientId)}</b>`
    : `The dashboard <b>${escape(clientId)}</b> of the service broker <b>${escape(brokerName)}</b>`

const inputs = (hidden: Hidden): string =>
  Object.entries(hidden)
    .map(([name, value]) => `<input type="hidden" name="${escape(name)}" value="${escape(value)}">`)
    .join('\n')

const page = (title: string, body: string): string => `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${title} · Bloomery</title><style>${STYLE}</style></head>
<body><main><div class="brand"><i></i>Bloomery</div>
${body}
</main></body>
</html>
`

const escape = (text: string): string => text.replace(/[&<>"']/g, (each) => `&#${each.charCodeAt(0)};`)
