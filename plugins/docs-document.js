/**
 * Changes the document of Latchkey for the pages: without the security scheme of clients, for which the login dialog would ask for a
 * second user name and password, and with forms whose optional fields are empty and not sent, and whose grants are a list.
 */
;(() => {
  const FORM = 'application/x-www-form-urlencoded'

  /** Returns the schema of a form. Swagger UI fills in the first example of a field, and shows an enumeration as a list. */
  function formOf({ required = [], properties, ...schema }) {
    const fieldOf = ([name, field]) => {
      if (!required.includes(name)) return [name, { ...field, examples: field.type === 'array' ? [[]] : [''] }]
      return [name, field.examples ? { ...field, enum: field.examples } : field]
    }
    return { ...schema, required, properties: Object.fromEntries(Object.entries(properties).map(fieldOf)) }
  }

  function forPages(document) {
    const { paths, components } = structuredClone(document)
    delete components.securitySchemes.client
    for (const operation of Object.values(paths).flatMap(Object.values)) {
      operation.security = operation.security?.filter((scheme) => !('client' in scheme))
      const [, name] = /^#\/components\/schemas\/(.*)$/.exec(operation.requestBody?.content[FORM]?.schema.$ref) ?? []
      if (name in (components.schemas ?? {})) components.schemas[name] = formOf(components.schemas[name])
    }
    return { ...document, paths, components }
  }

  const plugin = ({ React }) => ({
    statePlugins: {
      spec: { wrapActions: { updateJsonSpec: (original) => (document) => original(forPages(document)) } }
    },
    wrapComponents: {
      // Clears the box "Send empty value" of each field, which is ticked at first.
      ParameterIncludeEmpty: (Original) => (props) =>
        React.createElement(Original, {
          ...props,
          isIncludedOptions: { ...props.isIncludedOptions, defaultValue: false }
        })
    }
  })

  window.SwaggerUIBundle = new Proxy(window.SwaggerUIBundle, {
    apply: (bundle, _this, [config]) => bundle({ ...config, plugins: [...config.plugins, plugin] })
  })
})()
