"""placeholder until the target colleague's lands"""
