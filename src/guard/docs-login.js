/**
 * Replaces the login dialog of Swagger UI for the flows that guards document: forms with labels that show only the last refusal. Users
 * need not fill in the fields of a client. Follows the colour scheme of the browser.
 *
 * The server writes `window.latchkeyDocs` before this script:
 * @typedef {{ clientId: string, issuer: string, isOwn: boolean, storesLogin: boolean }} Config `isOwn`: whether the pages are those of
 *   Latchkey, whose redirect URI is at the origin of the issuer
 */
;(() => {
  const { issuer, isOwn } = window.latchkeyDocs
  const TITLES = {
    authorizationCode: 'authorizationCode with PKCE',
    password: 'password',
    clientCredentials: 'clientCredentials'
  }

  const BLOCKED =
    'The browser has blocked the window of the sign-in. Allow pop-up windows for this page, then press Authorize again.'

  const dark = matchMedia('(prefers-color-scheme: dark)')
  const followScheme = () => document.documentElement.classList.toggle('dark-mode', dark.matches)
  followScheme()
  dark.addEventListener('change', followScheme)

  /** Returns the reason in a message of Swagger UI, which names the status and the error code as well. */
  function reasonIn(message) {
    const [, atRedirect] = /^\[\w+\]: (.*?)\. ?$/s.exec(message) ?? []
    const [, atToken] = /, description: (.*)$/s.exec(message) ?? []
    return atRedirect?.replaceAll('+', ' ') ?? atToken ?? message
  }

  const plugin = ({ React }) => {
    const h = React.createElement

    const createLogin = (Original) =>
      class extends Original {
        constructor(props) {
          super(props)
          const isUser = props.schema.get('flow') !== 'clientCredentials'
          if (!isUser) Object.assign(this.state, { clientId: '', clientSecret: '', scopes: [] })
          this.state.hasLeft = false
        }

        submit = (event) => {
          event.preventDefault()
          const { errActions, name } = this.props
          errActions.clear({ authId: name })
          // Creates a new state without the code of the previous attempt, which Swagger UI would send again.
          this.setState({ hasLeft: false })
          this.authorize()
        }

        leave = (event) => {
          this.logout(event)
          this.setState({ hasLeft: true, password: '' })
        }

        field(id, label, attributes) {
          return h(
            'div',
            { className: 'latchkey-field', key: id },
            h('label', { htmlFor: id }, label),
            h('input', { id, onChange: this.onInputChange, ...attributes })
          )
        }

        /** The fields have a value of their own in the DOM, so that a password manager can fill them in. */
        clientFields(flow) {
          const { clientId: id, clientSecret } = this.state
          const common = { autoComplete: 'off', spellCheck: false }
          return [
            this.field(`client_id_${flow}`, 'client_id', {
              type: 'text',
              'data-name': 'clientId',
              defaultValue: id,
              ...common
            }),
            this.field(`client_secret_${flow}`, 'client_secret', {
              type: 'password',
              'data-name': 'clientSecret',
              defaultValue: clientSecret,
              ...common
            })
          ]
        }

        userFields() {
          return [
            this.field('oauth_username', 'Username', {
              type: 'text',
              'data-name': 'username',
              name: 'username',
              autoComplete: 'username',
              autoCapitalize: 'none',
              spellCheck: false,
              required: true
            }),
            this.field('oauth_password', 'Password', {
              type: 'password',
              'data-name': 'password',
              name: 'password',
              autoComplete: 'current-password',
              required: true
            }),
            h('details', { key: 'client' }, h('summary', null, 'Another client'), this.clientFields('password'))
          ]
        }

        scopeFields(flow) {
          const { schema, name } = this.props
          const scopes = schema.get('allowedScopes') || schema.get('scopes')
          if (!scopes?.size) return null
          const all = (attributes, text) =>
            h('button', { type: 'button', onClick: this.selectScopes, ...attributes }, text)
          return h(
            'fieldset',
            { className: 'latchkey-scopes' },
            h('legend', null, 'Scopes'),
            all({ 'data-all': true }, 'select all'),
            all({}, 'select none'),
            scopes
              .entrySeq()
              .map(([scope, description]) => {
                const id = `${scope}-${flow}-checkbox-${name}`
                const checked = this.state.scopes.includes(scope)
                return h(
                  'div',
                  { key: scope },
                  h('input', { id, type: 'checkbox', 'data-value': scope, checked, onChange: this.onScopeChange }),
                  h('label', { htmlFor: id }, h('code', null, scope), ' ', description)
                )
              })
              .toArray()
          )
        }

        /**
         * Returns a link to the pages at the issuer if these pages have another origin: the sign-in could not return here, because its
         * redirect URI is at the origin of the issuer. Returns null if the sign-in can return here.
         */
        elsewhere(flow) {
          if (flow !== 'authorizationCode' || !isOwn || location.origin === new URL(issuer).origin) return null
          const pages = `${issuer}/docs`
          return h(
            'p',
            { className: 'latchkey-elsewhere' },
            'The address of this service is ',
            h('a', { href: pages }, pages),
            '. Open this address to sign in on the page of Latchkey.'
          )
        }

        hint(flow) {
          if (flow !== 'authorizationCode' || !this.state.hasLeft) return null
          return h(
            'p',
            { className: 'latchkey-hint', role: 'status' },
            `You are logged out here. This browser may still be signed in at ${issuer}: `,
            h('a', { href: `${issuer}/logout`, target: '_blank', rel: 'noreferrer' }, 'Sign out')
          )
        }

        render() {
          const { schema, authorized, errSelectors, name, getComponent } = this.props
          const flow = schema.get('flow')
          if (TITLES[flow] === undefined) return super.render()
          const Markdown = getComponent('Markdown', true)
          const login = authorized?.get(name)
          const username = login?.get('username')
          const error = errSelectors
            .allErrors()
            .filter((each) => each.get('authId') === name)
            .last()
          const elsewhere = this.elsewhere(flow)
          const fields = { password: () => this.userFields(), clientCredentials: () => this.clientFields(flow) }
          const close = h(
            'button',
            { type: 'button', className: 'btn modal-btn auth btn-done', onClick: this.close },
            'Close'
          )
          const description = [
            h('h4', { key: 'title' }, `${name} (OAuth2, ${TITLES[flow]})`),
            h(Markdown, { key: 'description', source: schema.get('description') })
          ]
          const actions = (first) => h('div', { className: 'auth-btn-wrapper' }, first, close)
          const button = { className: 'btn modal-btn auth authorize' }
          if (login)
            return h(
              'div',
              { className: 'latchkey-login' },
              description,
              h(
                'p',
                { className: 'latchkey-state', role: 'status' },
                username ? `Authorized as ${username}` : 'Authorized'
              ),
              actions(h('button', { type: 'button', onClick: this.leave, ...button }, 'Logout'))
            )
          return h(
            'form',
            { className: 'latchkey-login', onSubmit: this.submit },
            description,
            this.hint(flow),
            elsewhere,
            fields[flow]?.(),
            elsewhere === null && this.scopeFields(flow),
            error && h('p', { className: 'latchkey-refusal', role: 'alert' }, error.get('message')),
            actions(elsewhere === null && h('button', { type: 'submit', ...button }, 'Authorize'))
          )
        }
      }

    return {
      wrapComponents: {
        oauth2: createLogin,
        // Names the button that closes the dialog.
        CloseIcon: (Original) => (props) =>
          h(React.Fragment, null, h(Original, props), h('span', { className: 'latchkey-unseen' }, 'Close the dialog'))
      },
      statePlugins: {
        err: {
          wrapActions: { newAuthErr: (original) => (error) => original({ ...error, message: reasonIn(error.message) }) }
        },
        auth: {
          wrapActions: {
            // Swagger UI does not notice that the browser has opened no window.
            authPopup:
              (_original, { errActions }) =>
              (url, redirect) => {
                window.swaggerUIRedirectOauth2 = redirect
                if (window.open(url) === null)
                  errActions.newAuthErr({
                    authId: redirect.auth.name,
                    source: 'auth',
                    level: 'error',
                    message: BLOCKED
                  })
              },
            // Moves the focus into the dialog, and back to the button that opened it.
            showDefinitions: (original) => (definitions) => {
              original(definitions)
              const target = definitions ? '.latchkey-login button.authorize' : '.auth-wrapper > .btn.authorize'
              setTimeout(() => document.querySelector(target)?.focus({ preventScroll: true }))
            }
          }
        }
      }
    }
  }

  window.SwaggerUIBundle = new Proxy(window.SwaggerUIBundle, {
    apply: (bundle, _this, [config]) => bundle({ ...config, plugins: [...config.plugins, plugin] })
  })
})()
