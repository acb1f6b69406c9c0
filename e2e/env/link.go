package env

func (c *Cluster) linkProxy() component            { return component{} }
func (c *Cluster) manager() component              { return component{} }
func (c *Cluster) agent(provider string) component { return component{} }
